//! The outline of a mask as LIDC's readers drew it: the pixels just outside the nodule.
//!
//! In LIDC a point of an outline is the first pixel outside the nodule (Armato et al., Med Phys
//! 38, 2011), so a mask is what the polygon encloses without the polygon's own points.

use ndarray::Array2;

/// Makes of a slice's mask [y, x] one that an outline can describe exactly: its largest
/// 4-connected piece, without holes and without clefts that the outline's pixels would fill.
pub fn tidy(mask: &Array2<bool>) -> Array2<bool> {
    let mut tidy = largest_piece(mask);
    loop {
        let next = without_holes(&closed(&tidy));
        if next == tidy {
            return tidy;
        }
        tidy = next;
    }
}

/// The closed outline (x, y) of a [`tidy`] mask [y, x]: every pixel outside that shares an edge
/// with it, 8-connected, clockwise from the top, the first point again at the end. Coordinates
/// are the mask's own and may be -1 or its length. An empty mask has no points.
pub fn ring(mask: &Array2<bool>) -> Vec<(i64, i64)> {
    /// Clockwise from the right, y down.
    const STEPS: [(i64, i64); 8] =
        [(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)];
    let wide = dilated(mask);
    let solid = |(x, y): (i64, i64)| {
        x >= 0 && y >= 0 && wide.get([y as usize, x as usize]).copied().unwrap_or(false)
    };
    let Some(((top, left), _)) = wide.indexed_iter().find(|(_, set)| **set) else {
        return Vec::new();
    };
    // Moore's neighbour tracing; `back` is the direction of the last pixel seen outside.
    let start = (left as i64, top as i64);
    let (mut at, mut back) = (start, 4);
    let mut path = Vec::new();
    while path.len() <= 8 * wide.len() {
        path.push((at.0 - 1, at.1 - 1));
        let step = (1..=8).map(|turn| (back + turn) % 8).find(|&d| {
            let (dx, dy) = STEPS[d];
            solid((at.0 + dx, at.1 + dy))
        });
        let Some(d) = step else { break };
        at = (at.0 + STEPS[d].0, at.1 + STEPS[d].1);
        back = (d + if d % 2 == 0 { 6 } else { 5 }) % 8;
        if at == start && back == 4 {
            break;
        }
    }
    path.push((start.0 - 1, start.1 - 1));
    path
}

/// The mask and all pixels that share an edge with it; one pixel is added on every side.
fn dilated(mask: &Array2<bool>) -> Array2<bool> {
    let (rows, columns) = mask.dim();
    let mut wide = Array2::from_elem((rows + 2, columns + 2), false);
    for ((y, x), _) in mask.indexed_iter().filter(|(_, set)| **set) {
        for (dy, dx) in [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)] {
            wide[[y + dy, x + dx]] = true;
        }
    }
    wide
}

/// Morphological closing by the cross of a pixel and its four neighbours; bays whose mouth the
/// outline closes are filled too.
fn closed(mask: &Array2<bool>) -> Array2<bool> {
    let wide = without_holes(&dilated(mask));
    Array2::from_shape_fn(mask.dim(), |(y, x)| {
        [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)].iter().all(|(dy, dx)| wide[[y + dy, x + dx]])
    })
}

fn largest_piece(mask: &Array2<bool>) -> Array2<bool> {
    let mut left = mask.clone();
    let mut largest = Vec::new();
    for start in mask.indexed_iter().filter(|(_, set)| **set).map(|(at, _)| at) {
        let piece = take_piece(&mut left, start);
        if piece.len() > largest.len() {
            largest = piece;
        }
    }
    let mut out = Array2::from_elem(mask.dim(), false);
    for at in largest {
        out[at] = true;
    }
    out
}

/// Removes the 4-connected piece around `start` from `left` and returns its pixels.
fn take_piece(left: &mut Array2<bool>, start: (usize, usize)) -> Vec<(usize, usize)> {
    let mut stack = vec![start];
    let mut piece = Vec::new();
    while let Some((y, x)) = stack.pop() {
        if left.get([y, x]) != Some(&true) {
            continue;
        }
        left[[y, x]] = false;
        piece.push((y, x));
        let (up, west) = (y.wrapping_sub(1), x.wrapping_sub(1));
        stack.extend([(up, x), (y + 1, x), (y, west), (y, x + 1)]);
    }
    piece
}

/// The mask with every hole filled that has no 4-connected way to the border.
fn without_holes(mask: &Array2<bool>) -> Array2<bool> {
    let (rows, columns) = mask.dim();
    let mut background = Array2::from_elem((rows + 2, columns + 2), true);
    for ((y, x), set) in mask.indexed_iter() {
        background[[y + 1, x + 1]] = !set;
    }
    take_piece(&mut background, (0, 0));
    Array2::from_shape_fn(mask.dim(), |(y, x)| mask[[y, x]] || background[[y + 1, x + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use std::collections::BTreeSet;

    /// What a reader of LIDC makes of an outline: inside the polygon, not on its points.
    fn fill(points: &[(i64, i64)], shape: (usize, usize)) -> Array2<bool> {
        let own: BTreeSet<_> = points.iter().copied().collect();
        Array2::from_shape_fn(shape, |(row, column)| {
            let (x, y) = (column as i64, row as i64);
            let crossings = points.windows(2).filter(|edge| {
                let ((x0, y0), (x1, y1)) = (edge[0], edge[1]);
                // Steps are one pixel, so a crossing edge is at its x end on this row.
                (y0 > y) != (y1 > y) && (if y0 == y { x0 } else { x1 }) > x
            });
            crossings.count() % 2 == 1 && !own.contains(&(x, y))
        })
    }

    #[test]
    fn the_ring_of_one_pixel_is_its_four_neighbours() {
        let mask = Array2::from_elem((1, 1), true);
        assert_eq!(ring(&mask), [(0, -1), (1, 0), (0, 1), (-1, 0), (0, -1)]);
        assert!(ring(&Array2::from_elem((3, 3), false)).is_empty());
    }

    #[test]
    fn holes_clefts_and_crumbs_are_tidied() {
        let draw =
            |rows: [&str; 5]| Array2::from_shape_fn((5, 7), |(y, x)| rows[y].as_bytes()[x] == b'#');
        let rough = draw(["###.##.", "#.#.##.", "######.", ".......", "#.....#"]);
        // The notch at the edge stays: an outline can follow it.
        let smooth = draw(["###.##.", "######.", "######.", ".......", "......."]);
        assert_eq!(tidy(&rough), smooth);
    }

    #[test]
    fn filling_the_ring_gives_back_any_tidy_mask() {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        for round in 0..400 {
            let density = 0.3 + 0.6 * f64::from(round % 10) / 10.0;
            let shape = (rng.random_range(1..14), rng.random_range(1..14));
            let mask = Array2::from_shape_fn(shape, |_| rng.random_bool(density));
            let mask = tidy(&mask);
            let points = ring(&mask);
            let steps = points.windows(2).all(|w| {
                (w[0].0 - w[1].0).abs() <= 1 && (w[0].1 - w[1].1).abs() <= 1 && w[0] != w[1]
            });
            assert!(steps, "the ring has a gap");
            assert_eq!(fill(&points, shape), mask, "{mask:?}");
        }
    }
}
