//! Composing one scan.

use dasl_volume::dataset::ScanRecord;
use dasl_volume::{Geometry, PADDING_HU, PointMm, VoxelPos};
use ndarray::{Array3, ArrayView3, s};
use rand_chacha::ChaCha8Rng;

use super::block::Block;
use super::donor::{Donor, is_lung};
use super::room::{Lie, Place, Room};
use super::stamp::Stamp;
use super::turn::Turn;

/// How often another place of the background is looked for whose lung may be copied.
const TRIES: usize = 20;

/// A scan that is being composed.
#[derive(Debug, Clone, PartialEq)]
pub struct Canvas {
    /// Hounsfield units [z, y, x].
    pub ct: Array3<i16>,
    /// Nodules [z, y, x].
    pub labels: Array3<u16>,
    /// Where nodules are looked for [z, y, x].
    pub lung: Array3<u8>,
}

/// What is to be put into it.
pub struct Wanted<'a> {
    /// Nodules, in the order in which they are tried.
    pub donors: Vec<&'a Donor>,
    /// How many of them.
    pub nodules: usize,
    /// How many of these lie against wall, mediastinum or a vessel.
    pub attached: usize,
    /// How many pieces of lung without a nodule.
    pub nothing: usize,
}

/// An insertion.
#[derive(Debug, Clone, PartialEq)]
pub struct Insertion<'a> {
    /// Its label; none for a piece of lung.
    pub label: Option<u16>,
    /// Whose nodule, or whose nodule's mask.
    pub donor: &'a Donor,
    /// Whether the piece of lung is the background's own.
    pub own_lung: bool,
    /// How it lies.
    pub lie: Lie,
    /// Where.
    pub place: Place,
    /// What is seen of its mask, turned, from `place` on [z, y, x].
    pub mask: Array3<bool>,
}

impl Insertion<'_> {
    /// Centre of its mask.
    pub fn center_mm(&self, grid: &Geometry) -> PointMm {
        let (mut sum, mut count) = ([0.0; 3], 0.0);
        for ((z, y, x), _) in self.mask.indexed_iter().filter(|(_, inside)| **inside) {
            for (axis, at) in [z, y, x].into_iter().enumerate() {
                sum[axis] += (self.place.start[axis] + at) as f64;
            }
            count += 1.0;
        }
        let [z, y, x] = sum.map(|s| s / count);
        grid.to_mm(VoxelPos::new(z, y, x))
    }
}

impl Canvas {
    /// Makes a box lie outside the scan.
    pub fn blank(&mut self, block: &Block) {
        let [z, y, x] = [0, 1, 2].map(|a| block.start[a] as usize..block.end[a] as usize);
        self.ct.slice_mut(s![z.clone(), y.clone(), x.clone()]).fill(PADDING_HU);
        self.lung.slice_mut(s![z, y, x]).fill(0);
    }

    /// The room in its lungs, away from its own nodules and from places that don't count; `None`
    /// if it has no lungs.
    pub fn room(&self, record: &ScanRecord, spacing_mm: f64) -> Option<Room> {
        let mut room = Room::of(self.lung.view(), spacing_mm)?;
        for nodule in &record.nodules {
            room.take(Block::new(nodule.box_start, nodule.box_shape));
        }
        for place in &record.ignored {
            let at = record.geometry.to_voxel(place.center_mm);
            let at = [at.z, at.y, at.x].map(|v| v.round() as i64);
            let radius = (place.diameter_mm / 2.0 / spacing_mm).ceil() as i64;
            room.take(Block { start: at, end: at.map(|v| v + 1) }.grown(radius));
        }
        Some(room)
    }

    /// Puts nodules and pieces of lung into it, as many as are wanted and have room.
    pub fn fill<'a>(
        &mut self,
        mut room: Room,
        wanted: &Wanted<'a>,
        spacing_mm: f64,
        rng: &mut ChaCha8Rng,
    ) -> Vec<Insertion<'a>> {
        let mut done: Vec<Insertion> = Vec::new();
        let mut label = self.labels.iter().copied().max().unwrap_or(0);
        for donor in &wanted.donors {
            if done.len() == wanted.nodules {
                break;
            }
            let stamp = donor.stamp.turned(Turn::draw(rng));
            let attached = done.len() < wanted.attached;
            let Some((lie, place)) = self.place(&stamp, attached, &room, rng) else { continue };
            let mask = match lie {
                Lie::Free => stamp.mask().clone(),
                Lie::Attached => stamp.seen_on(self.region(&stamp, place)),
            };
            if !mask.iter().any(|inside| *inside) {
                // The wall hides all of it.
                continue;
            }
            label += 1;
            self.put(&stamp, place);
            for ((z, y, x), _) in mask.indexed_iter().filter(|(_, inside)| **inside) {
                let [z0, y0, x0] = place.start;
                self.labels[[z0 + z, y0 + y, x0 + x]] = label;
            }
            room.take(Block::new(place.start, stamp.shape()));
            done.push(Insertion { label: Some(label), donor, own_lung: false, lie, place, mask });
        }
        let nodules = done.len();
        // From the other end, so that the masks are mostly other ones than the nodules'.
        for donor in wanted.donors.iter().rev() {
            if done.len() - nodules == wanted.nothing {
                break;
            }
            let beside = donor.lung_beside(rng);
            let own_lung = beside.is_none();
            let stamp = beside.or_else(|| self.own_lung(donor, &room, spacing_mm, rng));
            let Some(stamp) = stamp.map(|stamp| stamp.turned(Turn::draw(rng))) else { continue };
            let of_nothing = done.len() - nodules;
            // As many of them are attached as of the nodules.
            let attached = wanted.attached * wanted.nothing > of_nothing * wanted.nodules;
            let Some((lie, place)) = self.place(&stamp, attached, &room, rng) else { continue };
            self.put(&stamp, place);
            room.take(Block::new(place.start, stamp.shape()));
            let mask = stamp.mask().clone();
            done.push(Insertion { label: None, donor, own_lung, lie, place, mask });
        }
        done
    }

    /// A piece of this scan's lung, cut by a nodule's mask.
    fn own_lung(
        &self,
        donor: &Donor,
        room: &Room,
        spacing_mm: f64,
        rng: &mut ChaCha8Rng,
    ) -> Option<Stamp> {
        let mask = donor.padded_mask()?;
        let size = mask.dim();
        for _ in 0..TRIES {
            // The nodule's own stamp is no larger than its padded mask.
            let (_, place) = self.place(&donor.stamp, false, room, rng)?;
            let [z, y, x] = place.start;
            let scan = self.ct.dim();
            if z + size.0 > scan.0 || y + size.1 > scan.1 || x + size.2 > scan.2 {
                continue;
            }
            let ct = self.ct.slice(s![z..z + size.0, y..y + size.1, x..x + size.2]);
            let piece = Stamp::cut(ct, mask.view(), &vec![1.0; size.0], spacing_mm)?;
            if is_lung(&piece) {
                return Some(piece);
            }
        }
        None
    }

    /// A place for a stamp, and how it lies there: free too where there is none to be attached.
    fn place(
        &self,
        stamp: &Stamp,
        attached: bool,
        room: &Room,
        rng: &mut ChaCha8Rng,
    ) -> Option<(Lie, Place)> {
        let mut find = |lie| Some((lie, room.find(stamp, lie, (&self.ct, &self.lung), rng)?));
        let beside = if attached { find(Lie::Attached) } else { None };
        beside.or_else(|| find(Lie::Free))
    }

    /// The scan where a stamp goes.
    fn region(&self, stamp: &Stamp, place: Place) -> ArrayView3<'_, i16> {
        let ([z, y, x], [d, h, w]) = (place.start, stamp.shape());
        self.ct.slice(s![z..z + d, y..y + h, x..x + w])
    }

    fn put(&mut self, stamp: &Stamp, place: Place) {
        let ([z, y, x], [d, h, w]) = (place.start, stamp.shape());
        let region = self.ct.slice_mut(s![z..z + d, y..y + h, x..x + w]);
        stamp.mix_into(region, place.median_hu);
    }
}
