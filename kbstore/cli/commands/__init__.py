"""The commands of `kbstore`; each module is loaded when one of its commands is used."""
