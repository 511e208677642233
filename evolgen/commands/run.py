"""`run`: a recipe, be it the settings of one command or a chain of several."""

from __future__ import annotations

from dataclasses import replace

from evolgen.commands.command import Command, Means, Work
from evolgen.config import configured
from evolgen.config.run import RunConfig
from evolgen.report import closing


def prepare(config: RunConfig, means: Means) -> Work:
    """A recipe of one table is that command; of several, a chain, whose Summary counts each row once."""
    from evolgen.commands.chain import prepare_chain
    from evolgen.commands.recipes import read_recipe

    commands = {name: command for name, command in means.commands.items() if name != RUN.name}
    recipe = read_recipe(config.recipe, commands).overridden(config.overrides)
    if means.defaults is not None:
        recipe = recipe.below({name: means.defaults.of(commands[name]) for name in recipe.tables})
    if recipe.is_chain:
        return prepare_chain(recipe, means)
    name, settings = recipe.single()
    command = means.commands[name]
    return command.prepare(configured(command.config, settings), replace(means, name=name, stage=name))


RUN = Command(
    name="run",
    help="Run a command whose flags are in a file, or several, each on what the one before it gave.",
    config=RunConfig,
    reads="recipe",
    prepare=prepare,
    closing=closing.chain,
)
