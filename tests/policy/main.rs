//! What becomes of packages for their signatures, by every way in: `matrix` tries the table of
//! `spec/signature.md` §9, `system` has what the machine's files outweigh.

mod matrix;
mod scene;
mod system;
