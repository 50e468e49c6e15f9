//! Drift packages.
