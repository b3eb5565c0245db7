"""The commands of `kbstore`; each module is loaded when a command of the module is used."""
