"""The bundled inference runner: LLaMA-family GGUF models on this machine, with llama.cpp in process.

It imports nothing else of evolgen but its errors, and works without the rest.
"""
