"""Rules that find what goes wrong with a migration before anything runs."""

from migrator.lint.check import Subject, is_known_rule, lint
from migrator.lint.registry import RULES, Finding, Rule
from migrator.lint.squawk import squawk

__all__ = ["RULES", "Finding", "Rule", "Subject", "is_known_rule", "lint", "squawk"]
