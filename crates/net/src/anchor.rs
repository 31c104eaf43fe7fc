//! Anchors: cubes at every head location, and what each of them should say about a nodule.

use crate::config::NetConfig;

/// Voxels between head locations.
pub const STRIDE: usize = 4;
/// An anchor with at least this IoU is positive (Ren et al. 2015, in 3D).
const POSITIVE_IOU: f64 = 0.5;
/// An anchor with less than this IoU to every nodule is negative; between, it is ignored.
const NEGATIVE_IOU: f64 = 0.02;

/// A cube in voxels of a patch or scan: centre [z, y, x] and edge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cube {
    /// Centre [z, y, x], voxel centres at whole numbers.
    pub center: [f64; 3],
    /// Edge length in voxels.
    pub edge: f64,
}

impl Cube {
    /// Intersection over union of two cubes.
    pub fn iou(&self, other: &Self) -> f64 {
        let mut shared = 1.0;
        for axis in 0..3 {
            let low =
                (self.center[axis] - self.edge / 2.0).max(other.center[axis] - other.edge / 2.0);
            let high =
                (self.center[axis] + self.edge / 2.0).min(other.center[axis] + other.edge / 2.0);
            shared *= (high - low).max(0.0);
        }
        shared / (self.edge.powi(3) + other.edge.powi(3) - shared)
    }
}

/// The anchors of a patch: head location i sits at voxel (stride - 1)/2 + stride * i.
#[derive(Debug, Clone)]
pub struct Anchors {
    /// Head locations along [z, y, x].
    pub grid: [usize; 3],
    edges: Vec<f64>,
}

impl Anchors {
    /// The anchors of a patch of `shape` voxels.
    pub fn new(config: &NetConfig, shape: [usize; 3]) -> Self {
        let edges = config.anchors_mm.iter().map(|mm| mm / config.spacing_mm).collect();
        Self { grid: shape.map(|n| n / STRIDE), edges }
    }

    /// Number of anchors.
    pub fn len(&self) -> usize {
        self.grid.iter().product::<usize>() * self.edges.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Anchor `index`, in the order of the head's output [z, y, x, anchor].
    pub fn cube(&self, index: usize) -> Cube {
        let (location, kind) = (index / self.edges.len(), index % self.edges.len());
        let [_, rows, columns] = self.grid;
        let at = [location / (rows * columns), location / columns % rows, location % columns];
        Cube { center: at.map(Self::voxel), edge: self.edges[kind] }
    }

    fn voxel(location: usize) -> f64 {
        (STRIDE - 1) as f64 / 2.0 + (STRIDE * location) as f64
    }

    /// (dz, dy, dx)/anchor and ln(d/anchor) of a nodule seen from an anchor (Girshick 2015).
    pub fn encode(anchor: &Cube, nodule: &Cube) -> [f32; 4] {
        let d = |axis: usize| ((nodule.center[axis] - anchor.center[axis]) / anchor.edge) as f32;
        [d(0), d(1), d(2), (nodule.edge / anchor.edge).ln() as f32]
    }

    /// The inverse of [`Anchors::encode`]. The logarithm is bounded so that an untrained network
    /// can't ask for a box of the size of a house.
    pub fn decode(anchor: &Cube, delta: [f32; 4]) -> Cube {
        let at = |axis: usize| anchor.center[axis] + f64::from(delta[axis]) * anchor.edge;
        let edge = anchor.edge * f64::from(delta[3]).clamp(-2.0, 2.0).exp();
        Cube { center: [at(0), at(1), at(2)], edge }
    }

    /// Which anchors are positive (with the nodule they stand for) and which are negative.
    /// The best anchor of each nodule is always positive.
    pub fn assign(&self, nodules: &[Cube]) -> Assignment {
        let mut best_iou = vec![0.0; self.len()];
        let mut owner = vec![0; self.len()];
        let mut positive = std::collections::BTreeMap::new();
        for (n, nodule) in nodules.iter().enumerate() {
            let mut best: Option<(usize, f64)> = None;
            for index in self.near(nodule) {
                let iou = self.cube(index).iou(nodule);
                if iou > best_iou[index] {
                    best_iou[index] = iou;
                    owner[index] = n;
                }
                // Another nodule may have the best anchor already: then the next best.
                if !positive.contains_key(&index) && best.is_none_or(|(_, most)| iou > most) {
                    best = Some((index, iou));
                }
            }
            if let Some((index, _)) = best {
                positive.insert(index, n);
            }
        }
        let mut negative = Vec::new();
        for (index, &iou) in best_iou.iter().enumerate() {
            if iou >= POSITIVE_IOU {
                positive.entry(index).or_insert(owner[index]);
            } else if iou < NEGATIVE_IOU && !positive.contains_key(&index) {
                negative.push(index);
            }
        }
        Assignment { positive: positive.into_iter().collect(), negative }
    }

    /// Anchors that can overlap a nodule, and at least those at the nearest location.
    fn near(&self, nodule: &Cube) -> Vec<usize> {
        let widest = self.edges.iter().copied().fold(0.0, f64::max);
        let reach = f64::midpoint(nodule.edge, widest);
        let range = |axis: usize| {
            let to_location = |v: f64| (v - Self::voxel(0)) / STRIDE as f64;
            let last = self.grid[axis] as f64 - 1.0;
            let low = to_location(nodule.center[axis] - reach).floor().clamp(0.0, last);
            let high = to_location(nodule.center[axis] + reach).ceil().clamp(0.0, last);
            low as usize..=high as usize
        };
        let mut near = Vec::new();
        for z in range(0) {
            for y in range(1) {
                for x in range(2) {
                    let location = (z * self.grid[1] + y) * self.grid[2] + x;
                    near.extend((0..self.edges.len()).map(|k| location * self.edges.len() + k));
                }
            }
        }
        near
    }
}

/// Roles of a patch's anchors; those in neither list are ignored.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// (anchor, nodule), sorted by anchor.
    pub positive: Vec<(usize, usize)>,
    /// Anchors on background, sorted.
    pub negative: Vec<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Preset};
    use proptest::prelude::*;

    fn anchors() -> Anchors {
        Anchors::new(&Config::preset(Preset::Small).net, [32; 3])
    }

    #[test]
    fn head_locations_are_the_centres_of_their_voxels() {
        // Location 0 covers voxels 0..4, whose middle is 1.5; the third anchor is 20 mm.
        let a = anchors();
        assert_eq!(a.grid, [8; 3]);
        assert_eq!(a.cube(2), Cube { center: [1.5; 3], edge: 20.0 });
        let last = a.cube(a.len() - 3);
        assert_eq!(last, Cube { center: [29.5; 3], edge: 5.0 });
    }

    #[test]
    fn iou_of_hand_computed_cubes() {
        let a = Cube { center: [0.0; 3], edge: 2.0 };
        let b = Cube { center: [1.0, 0.0, 0.0], edge: 2.0 };
        assert!((a.iou(&b) - 4.0 / 12.0).abs() < 1e-12);
        assert!((a.iou(&a) - 1.0).abs() < 1e-12);
        assert!(a.iou(&Cube { center: [5.0; 3], edge: 2.0 }).abs() < 1e-12);
    }

    #[test]
    fn a_nodule_between_all_anchors_still_has_one() {
        let nodule = Cube { center: [3.5; 3], edge: 3.0 };
        let roles = anchors().assign(&[nodule]);
        assert_eq!(roles.positive.len(), 1);
        assert!(anchors().cube(roles.positive[0].0).iou(&nodule) < POSITIVE_IOU);
    }

    #[test]
    fn two_nodules_in_one_place_have_an_anchor_each() {
        let nodule = |x: f64| Cube { center: [9.5, 9.5, x], edge: 5.0 };
        let roles = anchors().assign(&[nodule(9.4), nodule(9.6)]);
        let owners: Vec<usize> = roles.positive.iter().map(|p| p.1).collect();
        assert!(owners.contains(&0) && owners.contains(&1), "{owners:?}");
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(c in prop::array::uniform3(0.0..32.0), edge in 3.0..30.0, i in 0usize..1536) {
            let nodule = Cube { center: c, edge };
            let anchor = anchors().cube(i);
            let back = Anchors::decode(&anchor, Anchors::encode(&anchor, &nodule));
            prop_assert!((back.edge - edge).abs() < 1e-4 * edge);
            for (found, wanted) in back.center.iter().zip(c) {
                prop_assert!((found - wanted).abs() < 1e-3);
            }
        }

        #[test]
        fn every_nodule_is_positive_somewhere_and_no_anchor_plays_two_roles(
            c in prop::array::uniform3(0.0..31.0), edge in 3.0..30.0,
        ) {
            let a = anchors();
            let nodule = Cube { center: c, edge };
            let roles = a.assign(&[nodule]);
            prop_assert!(!roles.positive.is_empty());
            for (index, _) in &roles.positive {
                prop_assert!(!roles.negative.contains(index));
            }
            for &index in &roles.negative {
                prop_assert!(a.cube(index).iou(&nodule) < NEGATIVE_IOU);
            }
        }
    }
}
