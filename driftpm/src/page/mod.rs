//! A list of things as one page for people: a static file that needs no server, no network and no
//! JavaScript, and searches itself where there is JavaScript.
//!
//! It knows nothing of packages: [`Page`] has columns and rows, each row perhaps a table of its own
//! that unfolds. Everything that goes in is text and stays text. The page says of itself that
//! nothing but its own style and script, by their hashes, may be used, so that even a mistake in
//! here would run nothing.
//!
//! The same page makes the same bytes. `index.html#q=WORDS` opens it with a search.
//!
//! ```
//! use driftpm::page::{Page, Piece, Row};
//!
//! let page = Page {
//!     title: "Packages".into(),
//!     noun: "packages".into(),
//!     columns: vec!["package".into(), "description".into()],
//!     rows: vec![Row {
//!         name: "acme.http".into(),
//!         cells: vec![vec![Piece::text("<script>alert(1)</script>")]],
//!         more: None,
//!     }],
//!     ..Page::default()
//! };
//! assert!(page.to_html().contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
//! ```

pub mod html;

/// A page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// What it is called.
    pub title: String,
    /// Paragraphs before the list.
    pub intro: Vec<Vec<Piece>>,
    /// What the rows are, in the plural: `packages`.
    pub noun: String,
    /// Names of the columns; the first is that of the rows' names.
    pub columns: Vec<String>,
    /// The list.
    pub rows: Vec<Row>,
}

/// A row of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name, in the first column; `#p-NAME` leads to it. Unique.
    pub name: String,
    /// The other columns.
    pub cells: Vec<Vec<Piece>>,
    /// What unfolds below it.
    pub more: Option<More>,
}

/// A table that unfolds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct More {
    /// What is seen before it unfolds.
    pub summary: String,
    /// Names of its columns.
    pub columns: Vec<String>,
    /// Its rows.
    pub rows: Vec<Vec<Vec<Piece>>>,
}

/// A piece of what stands in a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Piece {
    /// Words of a person.
    Text(String),
    /// Something that is copied: a hash, a command.
    Code(String),
    /// A word by which things can be found.
    Tag(String),
    /// An address of the web; with any other scheme than `http` and `https` it is only text.
    Link {
        /// What is shown.
        text: String,
        /// Where it leads.
        url: String,
    },
    /// A file below the page's folder.
    File {
        /// What is shown.
        text: String,
        /// Its path from there; a path that climbs is only text.
        path: String,
    },
}

impl Piece {
    /// Words of a person.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Something that is copied.
    pub fn code(text: impl Into<String>) -> Self {
        Self::Code(text.into())
    }
}
