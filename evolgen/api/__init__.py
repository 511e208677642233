"""The library's face: one function a command. The only place where objects are wired together."""
