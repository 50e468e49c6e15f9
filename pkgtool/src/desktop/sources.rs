//! What a package brings for desktops: `.desktop` files, icons, types of files.

use std::fs::File;
use std::path::Path;

use epk_format::Package;
use epk_format::package::{Kind, NodeId, Scratch};
use epk_format::path::display;
use epk_format::resolve::Resolved;
use serde::Deserialize;

use crate::commands::cat::Broken;
use crate::exit::Failure;

/// Most bytes of a file that is taken over.
const MOST: u64 = 16 << 20;
/// Where applications keep what desktops read.
const SHARES: [&str; 2] = ["/share", "/usr/share"];

/// A file of the package.
#[derive(Debug)]
pub(super) struct Source {
    /// Its name, without folders.
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

impl Source {
    /// The name without its ending.
    pub(super) fn stem(&self) -> &str {
        self.name.rsplit_once('.').map_or(&self.name, |(stem, _)| stem)
    }
}

/// An icon, and the folder of the theme `hicolor` for it.
#[derive(Debug)]
pub(super) struct Icon {
    pub(super) size: String,
    pub(super) file: Source,
}

/// The manifest's table of these things.
#[derive(Debug, Default, Deserialize)]
struct Declared {
    file: Option<String>,
    icon: Option<String>,
}

/// Reads a package.
pub(super) struct Sources<'p> {
    package: &'p Package<File>,
    file: &'p Path,
    declared: Declared,
}

impl<'p> Sources<'p> {
    pub(super) fn new(package: &'p Package<File>, file: &'p Path) -> Self {
        #[derive(Deserialize)]
        struct Manifest {
            #[serde(default)]
            desktop: Declared,
        }
        let text = std::str::from_utf8(package.manifest()).unwrap_or_default();
        // A table of another shape is somebody else's: manifests may have more than we know.
        let declared =
            toml::from_str(text).map_or_else(|_| Declared::default(), |m: Manifest| m.desktop);
        Self { package, file, declared }
    }

    /// The `.desktop` files: the one that the manifest names, or all where they usually are.
    pub(super) fn entries(&self) -> Result<Vec<Source>, Failure> {
        if let Some(path) = &self.declared.file {
            let found = self.read(path)?;
            let missing = || {
                let (file, path) = (self.file.display(), display(path.as_bytes()));
                Failure::refused(format!(
                    "`{file}`: the manifest names `{path}`, which is not there"
                ))
            };
            return found.map(|source| vec![source]).ok_or_else(missing);
        }
        self.in_folders("applications", ".desktop")
    }

    /// Descriptions of file types.
    pub(super) fn types(&self) -> Result<Vec<Source>, Failure> {
        self.in_folders("mime/packages", ".xml")
    }

    /// The icons of a name, one for each size: the manifest's icon, or those of that name where
    /// they usually are.
    pub(super) fn icons(&self, name: &str) -> Result<Vec<Icon>, Failure> {
        if let Some(path) = &self.declared.icon {
            return Ok(self.read(path)?.and_then(measured).into_iter().collect());
        }
        if let Some(path) = name.strip_prefix("/package/").map(|path| format!("/{path}")) {
            return Ok(self.read(&path)?.and_then(measured).into_iter().collect());
        }
        if name.contains('/') {
            return Ok(Vec::new());
        }
        let mut icons: Vec<Icon> = Vec::new();
        for share in SHARES {
            let theme = format!("{share}/icons/hicolor");
            for size in self.names(&theme, "")? {
                for ending in [".png", ".svg"] {
                    let path = format!("{theme}/{size}/apps/{name}{ending}");
                    if let Some(file) = self.read(&path)?
                        && !icons.iter().any(|icon| icon.size == size)
                    {
                        icons.push(Icon { size: size.clone(), file });
                    }
                }
            }
        }
        if icons.is_empty() {
            let folders = ["/share/pixmaps", "/usr/share/pixmaps", ""];
            for path in
                folders.iter().flat_map(|f| [".png", ".svg"].map(|e| format!("{f}/{name}{e}")))
            {
                if icons.is_empty() {
                    icons.extend(self.read(&path)?.and_then(measured));
                }
            }
        }
        Ok(icons)
    }

    fn in_folders(&self, folder: &str, ending: &str) -> Result<Vec<Source>, Failure> {
        let mut found: Vec<Source> = Vec::new();
        for share in SHARES {
            let folder = format!("{share}/{folder}");
            for name in self.names(&folder, ending)? {
                if found.iter().any(|source| source.name == name) {
                    continue;
                }
                found.extend(self.read(&format!("{folder}/{name}"))?);
            }
        }
        Ok(found)
    }

    /// Names in a folder that end so, in their order. Names that aren't UTF-8 are left out.
    fn names(&self, folder: &str, ending: &str) -> Result<Vec<String>, Failure> {
        let Some(id) = self.find(folder, Kind::Folder)? else { return Ok(Vec::new()) };
        let children = self.package.children(id).map_err(|error| self.failed(&error))?;
        let names = children.into_iter().filter_map(|(name, ..)| String::from_utf8(name).ok());
        Ok(names.filter(|name| name.ends_with(ending)).collect())
    }

    fn find(&self, path: &str, kind: Kind) -> Result<Option<NodeId>, Failure> {
        let found = self.package.resolve(path.as_bytes(), true);
        let Resolved::Found(id) = found.map_err(|error| self.failed(&error))? else {
            return Ok(None);
        };
        let node = self.package.node(id).map_err(|error| self.failed(&error))?;
        Ok((node.kind == kind).then_some(id))
    }

    fn read(&self, path: &str) -> Result<Option<Source>, Failure> {
        let Some(id) = self.find(path, Kind::File)? else { return Ok(None) };
        let node = self.package.node(id).map_err(|error| self.failed(&error))?;
        if node.size > MOST {
            let (file, path) = (self.file.display(), display(path.as_bytes()));
            return Err(Failure::refused(format!(
                "`{file}`: `{path}` has {} bytes, at most {MOST} are taken over",
                node.size
            )));
        }
        let mut bytes = Vec::new();
        let read = self.package.read(id, 0..u64::MAX, &mut Scratch::default(), |part| {
            bytes.extend_from_slice(part);
            Ok(())
        });
        read.map_err(|error| match error {
            Broken::Package(error) => self.failed(&error),
            Broken::Output(error) => Failure::system("cannot copy a file of the package", &error),
        })?;
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        Ok(Some(Source { name, bytes }))
    }

    fn failed(&self, error: &epk_format::Error) -> Failure {
        Failure::package(self.file, error)
    }
}

/// An icon with the size that it says of itself, with the ending that fits its content. `None` of
/// kinds of pictures that icon themes don't have.
fn measured(mut file: Source) -> Option<Icon> {
    let (size, ending) = match file.bytes.as_slice() {
        // PNG (ISO/IEC 15948): signature, then the header chunk, which begins with the size.
        [
            0x89,
            b'P',
            b'N',
            b'G',
            b'\r',
            b'\n',
            0x1a,
            b'\n',
            _,
            _,
            _,
            _,
            b'I',
            b'H',
            b'D',
            b'R',
            rest @ ..,
        ] => {
            let number =
                |at: usize| Some(u32::from_be_bytes(rest.get(at..at + 4)?.try_into().ok()?));
            (format!("{}x{}", number(0)?, number(4)?), ".png")
        }
        bytes => {
            let head = String::from_utf8_lossy(bytes.get(..bytes.len().min(4096))?).into_owned();
            head.contains("<svg").then(|| ("scalable".to_owned(), ".svg"))?
        }
    };
    file.name = format!("{}{ending}", file.stem());
    Some(Icon { size, file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn icons_tell_their_size() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x40\0\0\0\x30rest";
        let icon = |name: &str, bytes: &[u8]| {
            let file = Source { name: name.into(), bytes: bytes.to_vec() };
            measured(file).map(|icon| (icon.size, icon.file.name))
        };
        assert_eq!(icon(".DirIcon", png), Some(("64x48".into(), ".png".into())));
        assert_eq!(icon("a.png", png), Some(("64x48".into(), "a.png".into())));
        let svg = b"<?xml version='1.0'?>\n<svg/>";
        assert_eq!(icon("a.svg", svg), Some(("scalable".into(), "a.svg".into())));
        assert_eq!(icon("a.xpm", b"/* XPM */"), None);
        assert_eq!(icon("a.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0"), None);
        assert_eq!(icon("a", b""), None);
    }
}
