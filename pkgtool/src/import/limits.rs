//! How much an archive may become. A few bytes can stand for more than any disk holds.

use epk_format::limits;

use super::problem::Problem;

/// Most bytes of names, targets and attributes, which are kept in memory.
const NAME_BYTES: u64 = 1 << 30;

/// What may still come.
#[derive(Debug)]
pub(crate) struct Limits {
    most: u64,
    content: u64,
    names: u64,
    nodes: usize,
}

impl Limits {
    /// At most `content` bytes in all files together, holes counted.
    pub(crate) fn new(content: u64) -> Self {
        Self { most: content, content, names: NAME_BYTES, nodes: limits::NODES }
    }

    /// Most bytes of content, and of an image that has to be kept to be read.
    pub(crate) fn most(&self) -> u64 {
        self.most
    }

    /// Takes the content of a file.
    pub(crate) fn content(&mut self, bytes: u64) -> Result<(), Problem> {
        match self.content.checked_sub(bytes) {
            Some(left) => self.content = left,
            None => {
                let most = self.most;
                let message = format!("has more than {most} bytes of content (`--max-size`)");
                return Err(Problem::Refused(message));
            }
        }
        Ok(())
    }

    /// Takes an entry with so many bytes of names and attributes.
    pub(crate) fn node(&mut self, bytes: usize) -> Result<(), Problem> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        match (self.nodes.checked_sub(1), self.names.checked_sub(bytes)) {
            (Some(nodes), Some(names)) => (self.nodes, self.names) = (nodes, names),
            (None, _) => {
                let message = format!("has more than {} entries", limits::NODES);
                return Err(Problem::Refused(message));
            }
            (_, None) => {
                let message = format!("has more than {NAME_BYTES} bytes of names and attributes");
                return Err(Problem::Refused(message));
            }
        }
        Ok(())
    }
}
