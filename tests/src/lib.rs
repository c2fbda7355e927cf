//! Helpers for whole-system scenarios.
