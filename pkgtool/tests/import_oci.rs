//! `pkgtool import` of OCI layouts.

mod support;

use std::fs;
use std::io::Write as _;

use epk_format::digest::Sha256;
use serde_json::{Value, json};
use support::{Archive, Place, Ran, shown};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A layout in `layout/`.
struct Layout {
    place: Place,
}

impl Layout {
    fn new() -> Self {
        let layout = Self { place: Place::empty() };
        fs::create_dir_all(layout.place.path("layout/blobs/sha256")).expect("made");
        let mark = br#"{"imageLayoutVersion":"1.0.0"}"#;
        fs::write(layout.place.path("layout/oci-layout"), mark).expect("written");
        layout
    }

    /// Adds a blob and gives its descriptor.
    fn blob(&self, kind: &str, bytes: &[u8]) -> Value {
        let hash = Sha256::of(bytes).to_hex();
        fs::write(self.blob_path(&hash), bytes).expect("written");
        json!({ "mediaType": kind, "digest": format!("sha256:{hash}"), "size": bytes.len() })
    }

    fn blob_path(&self, hash: &str) -> std::path::PathBuf {
        self.place.path("layout/blobs/sha256").join(hash)
    }

    /// Adds an image of layers and gives its descriptor.
    fn image(&self, layers: &[Vec<u8>]) -> Value {
        let config = self.blob("application/vnd.oci.image.config.v1+json", b"{}");
        let layers: Vec<_> = layers.iter().map(|layer| self.blob(LAYER, layer)).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
        });
        self.blob(MANIFEST, manifest.to_string().as_bytes())
    }

    fn index(&self, images: &[Value]) {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": images });
        fs::write(self.place.path("layout/index.json"), index.to_string()).expect("written");
    }

    fn import(&self, more: &[&str]) -> Ran {
        self.place.run(&[&["import", "layout", "-o", "app.epk"], more].concat())
    }

    fn paths(&self) -> Vec<String> {
        support::paths(&self.place.image())
    }
}

fn two_layers() -> Vec<Vec<u8>> {
    let lower = Archive::default()
        .folder("opt/")
        .folder("opt/app/")
        .file("opt/app/manifest.toml", support::MANIFEST.as_bytes())
        .file("opt/app/bin/app", b"lower")
        .file("opt/app/gone", b"")
        .file("opt/app/gone-folder/x", b"")
        .file("opt/app/opaque/old", b"")
        .file("opt/app/opaque/deeper/old", b"")
        .file("opt/app/was-folder/x", b"")
        .file("opt/app/first", b"shared")
        .link(b'1', "opt/app/second", "opt/app/first")
        .link(b'2', "opt/app/was-link", "first")
        .file("etc/passwd", b"")
        .end();
    let upper = Archive::default()
        .file("opt/app/.wh.gone", b"")
        .file("opt/app/.wh.gone-folder", b"")
        // What the layer itself brings stays, wherever the whiteout stands.
        .file("opt/app/opaque/new", b"")
        .file("opt/app/opaque/.wh..wh..opq", b"")
        .file("opt/app/.wh..wh.plnk", b"")
        .file("opt/app/was-folder", b"now a file")
        .folder("opt/app/was-link")
        .file("opt/app/was-link/x", b"")
        .file("opt/app/first", b"another")
        .raw((b'0', "opt/app/bin/app", ""), b"upper", |header| header.set_mode(0o755))
        .end();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&upper).expect("written");
    vec![lower, gzip.finish().expect("written")]
}

#[test]
fn layers_lie_over_each_other() {
    let layout = Layout::new();
    let image = layout.image(&two_layers());
    layout.index(&[image]);
    layout.import(&["--path", "/opt/app"]).ok();
    let expected = [
        "bin",
        "bin/app",
        "first",
        "opaque",
        "opaque/new",
        "second",
        "was-folder",
        "was-link",
        "was-link/x",
    ];
    assert_eq!(layout.paths(), expected);
    let shown = shown(&layout.place.image());
    assert_eq!((&*shown["bin/app"].bytes, shown["bin/app"].mode), (&b"upper"[..], 0o755));
    assert_eq!(
        (&*shown["first"].bytes, &*shown["second"].bytes),
        (&b"another"[..], &b"shared"[..])
    );
    assert_eq!(&*shown["was-folder"].bytes, b"now a file");
    layout.import(&["--path", "opt"]).fails(1, &["nothing says the name"]);
    layout.import(&["--path", "usr"]).fails(1, &["nothing at `usr`"]);
}

#[test]
fn one_of_several_images_is_chosen() {
    let layout = Layout::new();
    let named = |mut image: Value, name: &str| {
        image["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        image
    };
    let app = |name: &str| Archive::default().app().file(name, b"").end();
    let (one, two) = (layout.image(&[app("one")]), layout.image(&[app("two")]));
    layout.index(&[named(one.clone(), "1.0"), named(two.clone(), "2.0")]);
    layout.import(&[]).fails(1, &["2 images", "`--image`", "`1.0`, `2.0`"]);
    layout.import(&["--image", "3.0"]).fails(1, &["no image `3.0`"]);
    layout.import(&["--image", "2.0"]).ok();
    assert_eq!(layout.paths(), ["bin", "bin/app", "two"]);
    layout.import(&["--image", one["digest"].as_str().expect("text")]).ok();
    assert_eq!(layout.paths(), ["bin", "bin/app", "one"]);
    // An index of machines in the index.
    let on = |mut image: Value, arch: &str| {
        image["platform"] = json!({ "os": "linux", "architecture": arch });
        image
    };
    let index = |images: &[Value]| {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": images });
        layout.blob(INDEX, index.to_string().as_bytes())
    };
    layout.index(&[index(&[on(one.clone(), "arm64"), on(two.clone(), "amd64")])]);
    layout.import(&[]).ok();
    assert_eq!(layout.paths(), ["bin", "bin/app", "two"]);
    layout.index(&[index(&[on(one.clone(), "arm64"), on(two, "riscv64")])]);
    layout.import(&[]).fails(1, &["no image for Linux"]);
    layout.index(&[]);
    layout.import(&[]).fails(1, &["has no image"]);
}

#[test]
fn blobs_are_what_they_are_called() {
    let layout = Layout::new();
    let layers = two_layers();
    let image = layout.image(&layers);
    layout.index(std::slice::from_ref(&image));
    let place = &layout.place;
    let before = place.names();
    let hash = Sha256::of(&layers[0]).to_hex();
    let said = [hash.as_str(), "SHA-256"];
    // In the content of a file, which no checksum of tar is over.
    let mut other = layers[0].clone();
    let at = other.windows(5).position(|text| text == b"lower").expect("there");
    other[at] ^= 1;
    fs::write(layout.blob_path(&hash), other).expect("written");
    layout.import(&["--path", "opt/app"]).fails(4, &said);
    fs::write(layout.blob_path(&hash), [&layers[0][..], &[0; 512]].concat()).expect("written");
    layout.import(&["--path", "opt/app"]).fails(4, &said);
    fs::remove_file(layout.blob_path(&hash)).expect("removed");
    layout.import(&["--path", "opt/app"]).fails(4, &[&hash]);
    let mut wrong = image;
    wrong["digest"] = json!("sha256:../../../../etc/passwd");
    layout.index(&[wrong]);
    layout.import(&[]).fails(4, &["index.json"]);
    fs::write(place.path("layout/index.json"), "{").expect("written");
    layout.import(&[]).fails(4, &["index.json"]);
    fs::remove_file(place.path("layout/oci-layout")).expect("removed");
    layout.import(&[]).fails(1, &["no OCI layout", "pkgtool pack"]);
    assert_eq!(place.names(), before);
}

#[test]
fn layers_do_not_lead_out() {
    let layout = Layout::new();
    for (upper, said) in [
        (Archive::default().file("l/x", b""), "`l/x` lies below `l`"),
        (Archive::default().file("l/.wh.x", b""), ""),
        (Archive::default().file(".wh...", b""), "whiteout"),
        (Archive::default().file("d/.wh...", b""), "whiteout"),
        (Archive::default().file("../.wh.x", b""), "`..`"),
    ] {
        let lower = Archive::default().app().link(b'2', "l", "/etc").folder("d").end();
        let image = layout.image(&[lower, upper.end()]);
        layout.index(&[image]);
        let ran = layout.import(&[]);
        if said.is_empty() {
            ran.ok();
            assert_eq!(layout.paths(), ["bin", "bin/app", "d", "l"]);
        } else {
            ran.fails(1, &[said]);
        }
    }
}
