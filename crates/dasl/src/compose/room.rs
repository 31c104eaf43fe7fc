//! Where in the lungs there is room.

use ndarray::{Array3, ArrayView3, s};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::block::Block;
use super::stamp::Stamp;

/// Left free around nodules and insertions, mm.
const GAP_MM: f64 = 5.0;
/// How often a place is looked for.
const TRIES: usize = 4000;
/// At most this share of what is changed may lie outside the lung mask.
const MOST_OUTSIDE: f64 = 0.1;
/// At most this share of what is changed may be vessel or wall: some nodules touch the pleura.
const MOST_DENSE: f64 = 0.25;
/// So much of the mask of an attached nodule lies in wall or vessel: less hardly touches, of more too
/// little is seen.
const HIDDEN: [f64; 2] = [0.1, 0.4];
/// The median around a place: lung, neither mediastinum nor windpipe.
const LUNG_HU: [f32; 2] = [-960.0, -600.0];
/// Lungs of which one is this much denser than the other, against soft tissue, do not match.
const STRETCH: [f32; 2] = [0.75, 1.33];

/// How a nodule lies in its lung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// In lung; it may touch the pleura or a vessel.
    Free,
    /// Part of its mask is in the chest wall, the mediastinum or a vessel.
    Attached,
}

/// A place for a stamp.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// First voxel of the stamp.
    pub start: [usize; 3],
    /// Median of the background around the mask, HU.
    pub median_hu: f32,
}

/// The room that is left in a scan's lungs.
#[derive(Debug, Clone)]
pub struct Room {
    /// Where the lungs are.
    lungs: Block,
    /// What is not to be touched, with the gap around it.
    taken: Vec<Block>,
    gap: i64,
}

impl Room {
    /// The whole of the lungs; `None` if there are none.
    pub fn of(lung: ArrayView3<u8>, spacing_mm: f64) -> Option<Self> {
        let lungs = Block::around(lung.mapv(|inside| inside != 0).indexed_iter())?;
        Some(Self { lungs, taken: Vec::new(), gap: (GAP_MM / spacing_mm).ceil() as i64 })
    }

    /// Takes a box and a gap around it.
    pub fn take(&mut self, block: Block) {
        self.taken.push(block.grown(self.gap));
    }

    /// A random place for a stamp, or none if there seems to be no room.
    ///
    /// # Shapes
    /// `ct`, `lung` [z, y, x]
    pub fn find(
        &self,
        stamp: &Stamp,
        lie: Lie,
        (ct, lung): (&Array3<i16>, &Array3<u8>),
        rng: &mut ChaCha8Rng,
    ) -> Option<Place> {
        let size = stamp.shape();
        let scan = ct.dim();
        let scan = [scan.0, scan.1, scan.2];
        for _ in 0..TRIES {
            let center = [0, 1, 2].map(|axis| {
                rng.random_range(self.lungs.start[axis]..self.lungs.end[axis]) as usize
            });
            if lung[center] == 0 {
                continue;
            }
            let start = [0, 1, 2].map(|axis| center[axis].checked_sub(size[axis] / 2));
            let [Some(z), Some(y), Some(x)] = start else { continue };
            let start = [z, y, x];
            if (0..3).any(|axis| start[axis] + size[axis] > scan[axis]) {
                continue;
            }
            let block = Block::new(start, size);
            if self.taken.iter().any(|taken| taken.meets(&block)) {
                continue;
            }
            let region = s![z..z + size[0], y..y + size[1], x..x + size[2]];
            let here = ct.slice(region);
            let fits = match lie {
                Lie::Free => {
                    outside(stamp, lung.slice(region)) <= MOST_OUTSIDE
                        && stamp.dense_of(here) <= MOST_DENSE
                }
                Lie::Attached => (HIDDEN[0]..=HIDDEN[1]).contains(&stamp.hidden_in(here)),
            };
            if !fits {
                continue;
            }
            let around = stamp.surroundings_in(here)?;
            let lung_like = (LUNG_HU[0]..LUNG_HU[1]).contains(&around.median_hu);
            let alike = stamp
                .stretch(around.median_hu)
                .is_some_and(|stretch| (STRETCH[0]..STRETCH[1]).contains(&stretch));
            if lung_like && alike {
                return Some(Place { start, median_hu: around.median_hu });
            }
        }
        None
    }
}

/// Share of what a stamp changes that lies outside the lungs.
fn outside(stamp: &Stamp, lung: ArrayView3<u8>) -> f64 {
    let (mut all, mut outside) = (0_usize, 0_usize);
    for (_, inside) in stamp.share().iter().zip(lung).filter(|(share, _)| **share > 0.0) {
        all += 1;
        outside += usize::from(*inside == 0);
    }
    outside as f64 / all.max(1) as f64
}
