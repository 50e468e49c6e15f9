//! Where the rectangles of a treemap go: squarified (Bruls, Huizing, van Wijk, 2000), folders
//! within folders, the area of each its size.

use super::Contents;

/// Least area of what is drawn for itself, in square pixels. It bounds the number of rectangles.
const LEAST_AREA: f64 = 40.0;

/// What a folder's edge takes on each side.
const EDGE: f64 = 2.0;

/// What a folder's name takes at its top, if there is room for it.
const NAME: f64 = 14.0;

/// A rectangle, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// A rectangle and what it stands for. Folders come before what is in them.
pub(super) struct Tile {
    pub(super) rect: Rect,
    pub(super) what: What,
}

/// What a rectangle stands for.
pub(super) enum What {
    /// An entry, by its place.
    Entry(usize),
    /// What of a folder is too small to be drawn: how many entries, and bytes.
    Rest(usize, u64),
}

/// The rectangles of a package's tree on so large a picture.
pub(super) fn layout(contents: &Contents, width: f64, height: f64) -> Vec<Tile> {
    let mut tiles = Vec::new();
    let mut pending = vec![(0, Rect { x: 0.0, y: 0.0, width, height })];
    while let Some((folder, rect)) = pending.pop() {
        let size = |place: usize| contents.entries.get(place).map_or(0, |entry| entry.size);
        let total = size(folder);
        let area = rect.width * rect.height;
        if total == 0 || area < LEAST_AREA {
            continue;
        }
        let scale = area / total as f64;
        let mut children: Vec<usize> = contents.children.get(folder).cloned().unwrap_or_default();
        children.retain(|place| size(*place) > 0);
        children.sort_by_key(|place| std::cmp::Reverse(size(*place)));
        let drawn = children.partition_point(|place| size(*place) as f64 * scale >= LEAST_AREA);
        let (drawn, rest) = children.split_at(drawn);
        let left: u64 = rest.iter().map(|place| size(*place)).sum();
        let mut areas: Vec<f64> = drawn.iter().map(|place| size(*place) as f64 * scale).collect();
        if left > 0 {
            areas.push(left as f64 * scale);
        }
        let whats = drawn.iter().map(|place| What::Entry(*place));
        let whats = whats.chain([What::Rest(rest.len(), left)]);
        for (rect, what) in squarify(&areas, rect).into_iter().zip(whats) {
            if let What::Entry(place) = what
                && contents.entries.get(place).is_some_and(|entry| entry.is_folder)
            {
                pending.push((place, inside(rect)));
            }
            tiles.push(Tile { rect, what });
        }
    }
    tiles
}

/// Whether a folder's name fits.
pub(super) fn has_name(rect: Rect) -> bool {
    rect.width > 40.0 && rect.height > 2.0 * NAME
}

fn inside(rect: Rect) -> Rect {
    let top = if has_name(rect) { NAME } else { EDGE };
    Rect {
        x: rect.x + EDGE,
        y: rect.y + top,
        width: (rect.width - 2.0 * EDGE).max(0.0),
        height: (rect.height - top - EDGE).max(0.0),
    }
}

/// Rectangles of the given areas, which together are that of `rect`, as square as possible.
fn squarify(areas: &[f64], mut rect: Rect) -> Vec<Rect> {
    let mut placed = Vec::with_capacity(areas.len());
    let mut rest = areas;
    while let Some(&largest) = rest.first() {
        let side = rect.width.min(rect.height);
        // The next ones are put into one row as long as that makes its worst better.
        let worst = |sum: f64, least: f64| {
            let square = side * side;
            (square * largest / (sum * sum)).max(sum * sum / (square * least))
        };
        let (mut count, mut sum) = (1, largest);
        while let Some(&next) = rest.get(count) {
            let last = rest.get(count - 1).copied().unwrap_or(largest);
            if worst(sum + next, next) > worst(sum, last) {
                break;
            }
            sum += next;
            count += 1;
        }
        let (row, others) = rest.split_at(count);
        rest = others;
        let thickness = if side > 0.0 { sum / side } else { 0.0 };
        let (mut x, mut y) = (rect.x, rect.y);
        let upright = rect.width >= rect.height;
        for area in row {
            let length = if thickness > 0.0 { area / thickness } else { 0.0 };
            if upright {
                placed.push(Rect { x, y, width: thickness, height: length });
                y += length;
            } else {
                placed.push(Rect { x, y, width: length, height: thickness });
                x += length;
            }
        }
        if upright {
            rect.x += thickness;
            rect.width = (rect.width - thickness).max(0.0);
        } else {
            rect.y += thickness;
            rect.height = (rect.height - thickness).max(0.0);
        }
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_paper() {
        let rect = Rect { x: 0.0, y: 0.0, width: 6.0, height: 4.0 };
        let placed = squarify(&[6.0, 6.0, 4.0, 3.0, 2.0, 2.0, 1.0], rect);
        let rounded: Vec<_> = placed
            .iter()
            .map(|r| [r.x, r.y, r.width, r.height].map(|n| (n * 100.0).round() / 100.0))
            .collect();
        assert_eq!(
            rounded[..3],
            [[0.0, 0.0, 3.0, 2.0], [0.0, 2.0, 3.0, 2.0], [3.0, 0.0, 1.71, 2.33]]
        );
        assert_eq!(rounded.len(), 7);
    }

    #[test]
    fn areas_are_kept_and_nothing_overlaps() {
        let whole = Rect { x: 5.0, y: 7.0, width: 640.0, height: 400.0 };
        let sizes: Vec<f64> = (1..60).rev().map(|n| f64::from(n * n)).collect();
        let scale = whole.width * whole.height / sizes.iter().sum::<f64>();
        let areas: Vec<f64> = sizes.iter().map(|size| size * scale).collect();
        let placed = squarify(&areas, whole);
        for (rect, area) in placed.iter().zip(&areas) {
            assert!((rect.width * rect.height - area).abs() < 1e-6 * area);
            assert!(rect.x >= whole.x - 1e-6 && rect.y >= whole.y - 1e-6);
            assert!(rect.x + rect.width <= whole.x + whole.width + 1e-6);
            assert!(rect.y + rect.height <= whole.y + whole.height + 1e-6);
        }
        let apart = |a: &Rect, b: &Rect| {
            let e = 1e-6;
            a.x + a.width <= b.x + e
                || b.x + b.width <= a.x + e
                || a.y + a.height <= b.y + e
                || b.y + b.height <= a.y + e
        };
        for (at, one) in placed.iter().enumerate() {
            assert!(placed.iter().skip(at + 1).all(|other| apart(one, other)), "{at}");
        }
    }

    #[test]
    fn nothing_divides_by_zero() {
        let flat = Rect { x: 0.0, y: 0.0, width: 0.0, height: 10.0 };
        for rect in squarify(&[3.0, 1.0], flat) {
            assert!(rect.width.is_finite() && rect.height.is_finite());
        }
        assert_eq!(squarify(&[], flat), []);
    }
}
