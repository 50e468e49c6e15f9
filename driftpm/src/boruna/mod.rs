//! Boruna packages.
