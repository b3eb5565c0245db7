"""Lint rules: find risks in a migration before anything runs."""

from kbstore.migrator.lint.check import Subject, is_known_rule, lint
from kbstore.migrator.lint.registry import RULES, Finding, Rule
from kbstore.migrator.lint.squawk import squawk

__all__ = ["RULES", "Finding", "Rule", "Subject", "is_known_rule", "lint", "squawk"]
