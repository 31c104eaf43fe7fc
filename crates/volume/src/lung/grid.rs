//! Binary morphology and connected components on a small grid.

use crate::components::{Components, components};
use rayon::prelude::*;

/// Size and spacing of a block grid [z, y, x]; masks on it are flat, x fastest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub shape: [usize; 3],
    pub spacing_mm: [f64; 3],
}

impl Grid {
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn voxel_mm3(&self) -> f64 {
        self.spacing_mm.iter().product()
    }

    fn plane(&self) -> usize {
        self.shape[1] * self.shape[2]
    }

    /// Bodies whose voxels touch by a face.
    pub fn components(&self, mask: &[bool]) -> Components {
        components(mask, self.shape)
    }

    /// A single slice of this grid.
    fn slice(&self) -> Self {
        Self { shape: [1, self.shape[1], self.shape[2]], ..*self }
    }

    /// The part of the mask that is connected, within its slice, to the slice's edge.
    pub fn connected_to_edge_in_slice(&self, mask: &[bool]) -> Vec<bool> {
        let slice = self.slice();
        mask.par_chunks(self.plane())
            .flat_map_iter(|mask| {
                let bodies = slice.components(mask);
                let touching = slice.touching_edge(&bodies);
                bodies.labels.into_iter().map(move |label| touching[label as usize])
            })
            .collect()
    }

    /// For a single slice: which bodies touch its edge, by label; the background never does.
    fn touching_edge(&self, bodies: &Components) -> Vec<bool> {
        let [_, height, width] = self.shape;
        let mut touching = vec![false; bodies.by_size.len() + 1];
        let rows = (0..width).flat_map(|x| [x, (height - 1) * width + x]);
        let columns = (0..height).flat_map(|y| [y * width, y * width + width - 1]);
        for at in rows.chain(columns) {
            touching[bodies.labels[at] as usize] = true;
        }
        touching[0] = false;
        touching
    }

    /// Fills the background that a slice's mask encloses, up to `most_mm2` each.
    pub fn fill_holes_in_slices(&self, mask: &mut [bool], most_mm2: f64) {
        let slice = self.slice();
        let most = (most_mm2 / (self.spacing_mm[1] * self.spacing_mm[2])) as usize;
        mask.par_chunks_mut(self.plane()).for_each(|mask| {
            let background: Vec<bool> = mask.iter().map(|inside| !inside).collect();
            let bodies = slice.components(&background);
            let mut fill: Vec<bool> = slice.touching_edge(&bodies).iter().map(|t| !t).collect();
            fill[0] = false;
            for (label, size) in &bodies.by_size {
                fill[*label as usize] &= *size <= most;
            }
            for (inside, label) in mask.iter_mut().zip(&bodies.labels) {
                *inside |= fill[*label as usize];
            }
        });
    }

    /// Closing by a ball: dilation, then erosion. What lies outside the grid counts as inside for
    /// the erosion, so that a lung cut by the scan's end stays whole.
    pub fn closed(&self, mask: &[bool], radius_mm: f64) -> Vec<bool> {
        let background: Vec<bool> =
            self.dilated(mask, radius_mm).into_iter().map(|inside| !inside).collect();
        self.dilated(&background, radius_mm).into_iter().map(|outside| !outside).collect()
    }

    /// Opening by a ball: what of the mask a ball fits into.
    pub fn opened(&self, mask: &[bool], radius_mm: f64) -> Vec<bool> {
        let background: Vec<bool> = mask.iter().map(|inside| !inside).collect();
        let core: Vec<bool> =
            self.dilated(&background, radius_mm).into_iter().map(|outside| !outside).collect();
        self.dilated(&core, radius_mm)
    }

    /// All voxels within `radius_mm` of the mask.
    ///
    /// The squared distance is built up axis by axis (Saito and Toriwaki 1994), within the radius
    /// only.
    pub fn dilated(&self, mask: &[bool], radius_mm: f64) -> Vec<bool> {
        const FAR: f32 = 1e12;
        let [_, height, width] = self.shape;
        let plane = self.plane();
        let offsets = |axis: usize| -> Vec<(isize, f32)> {
            let reach = (radius_mm / self.spacing_mm[axis]) as isize;
            let squared = |i: isize| (i as f64 * self.spacing_mm[axis]).powi(2) as f32;
            (-reach..=reach).map(|i| (i, squared(i))).collect()
        };
        let (along_z, along_y, along_x) = (offsets(0), offsets(1), offsets(2));
        let shifted = |at: usize, by: isize, length: usize| {
            at.checked_add_signed(by).filter(|at| *at < length)
        };
        let mut in_slices = vec![FAR; mask.len()];
        in_slices.par_chunks_mut(plane).zip(mask.par_chunks(plane)).for_each(|(out, mask)| {
            let mut in_rows = vec![FAR; plane];
            for (row, mask) in in_rows.chunks_mut(width).zip(mask.chunks(width)) {
                for x in (0..width).filter(|x| mask[*x]) {
                    for (by, squared) in &along_x {
                        if let Some(x) = shifted(x, *by, width) {
                            row[x] = row[x].min(*squared);
                        }
                    }
                }
            }
            for y in 0..height {
                let out = &mut out[y * width..(y + 1) * width];
                for (by, squared) in &along_y {
                    let Some(from) = shifted(y, *by, height) else { continue };
                    for (out, d) in out.iter_mut().zip(&in_rows[from * width..]) {
                        *out = out.min(d + squared);
                    }
                }
            }
        });
        let limit = (radius_mm * radius_mm) as f32 + 1e-3;
        let mut result = vec![false; mask.len()];
        result.par_chunks_mut(plane).enumerate().for_each(|(z, out)| {
            for (by, squared) in &along_z {
                let Some(from) = shifted(z, *by, self.shape[0]) else { continue };
                for (out, d) in out.iter_mut().zip(&in_slices[from * plane..]) {
                    *out |= d + squared <= limit;
                }
            }
        });
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GRID: Grid = Grid { shape: [7, 9, 8], spacing_mm: [2.0, 1.0, 1.5] };

    fn position(at: usize) -> [f64; 3] {
        let index = [at / 72, at / 8 % 9, at % 8];
        [0, 1, 2].map(|i| index[i] as f64 * GRID.spacing_mm[i])
    }

    proptest! {
        #[test]
        fn dilation_is_all_within_the_radius(
            seeds in prop::collection::vec(0..504_usize, 1..6),
            radius in 0.5..6.0_f64,
        ) {
            let mut mask = vec![false; GRID.len()];
            for seed in &seeds {
                mask[*seed] = true;
            }
            let got = GRID.dilated(&mask, radius);
            for (at, got) in got.iter().enumerate() {
                let squared = seeds.iter().map(|seed| {
                    let (a, b) = (position(at), position(*seed));
                    (0..3).map(|i| (a[i] - b[i]).powi(2)).sum::<f64>()
                });
                let nearest = squared.fold(f64::INFINITY, f64::min);
                if (nearest - radius * radius).abs() > 0.01 {
                    prop_assert_eq!(*got, nearest < radius * radius);
                }
            }
        }

        #[test]
        fn closing_only_adds(mask in prop::collection::vec(any::<bool>(), 504)) {
            let closed = GRID.closed(&mask, 2.5);
            prop_assert!(mask.iter().zip(&closed).all(|(before, after)| !before || *after));
        }
    }

    #[test]
    fn opening_keeps_what_a_ball_fits_into() {
        let grid = Grid { shape: [1, 7, 12], spacing_mm: [9.0, 1.0, 1.0] };
        // A square of 5 and, away from it, a row of one.
        let inside = |at: usize| {
            let (y, x) = (at / 12, at % 12);
            ((1..6).contains(&y) && (1..6).contains(&x)) || (y == 3 && x > 7)
        };
        let mask: Vec<bool> = (0..grid.len()).map(inside).collect();
        let opened = grid.opened(&mask, 1.0);
        assert!(opened[3 * 12 + 3] && opened[3 * 12 + 1] && !opened[3 * 12 + 9]);
        assert!(opened.iter().zip(&mask).all(|(opened, mask)| *mask || !opened));
    }

    #[test]
    fn bodies_are_sorted_by_size_and_touch_by_faces() {
        let grid = Grid { shape: [1, 2, 5], spacing_mm: [1.0; 3] };
        let mask = [1, 0, 0, 1, 1, 0, 1, 0, 0, 1].map(|v| v == 1);
        let bodies = grid.components(&mask);
        assert_eq!(bodies.by_size, [(2, 3), (1, 1), (3, 1)]);
        assert_eq!(bodies.labels, [1, 0, 0, 2, 2, 0, 3, 0, 0, 2]);
    }

    #[test]
    fn only_small_enclosed_holes_are_filled() {
        let grid = Grid { shape: [1, 5, 9], spacing_mm: [1.0; 3] };
        let mut mask = vec![true; 45];
        mask[9 + 1] = false; // one voxel
        for at in [9 + 4, 9 + 5, 18 + 4, 18 + 5] {
            mask[at] = false; // four
        }
        mask[8] = false; // at the edge
        grid.fill_holes_in_slices(&mut mask, 3.0);
        assert!(mask[10] && !mask[13] && !mask[8]);
    }
}
