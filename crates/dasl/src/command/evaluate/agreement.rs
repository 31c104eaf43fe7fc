//! How well the readers of a nodule agree.

use dasl_lidc::ReadNodule;
use dasl_metrics::{
    Overlap, SizeGroup, Spread, TextureGroup, sphere_diameter_mm, surface_distances,
};
use ndarray::Array3;
use serde::Serialize;

/// One nodule of at least two readers. Means are over its pairs, or over its readers.
#[derive(Debug, Clone, Serialize)]
pub struct Agreement {
    /// Its series.
    pub series_uid: String,
    /// Its place in the series, from feet to head, from 1.
    pub nodule: usize,
    /// Readers who outlined it.
    pub readers: usize,
    /// Diameter of the sphere of the consensus' volume, mm.
    pub diameter_mm: f64,
    /// Its size group.
    pub size: SizeGroup,
    /// Its texture group.
    pub texture: TextureGroup,
    /// Two readers: mean Dice.
    pub pair_dice: f64,
    /// Two readers: mean of the average symmetric surface distances, mm.
    pub pair_distance_mm: f64,
    /// A reader and the consensus of all, himself included: mean Dice.
    pub consensus_dice: f64,
    /// A reader and the consensus of the others: mean Dice.
    pub others_dice: f64,
    /// Dice of each pair of readers.
    #[serde(skip)]
    pub pairs: Vec<f64>,
    /// Dice of each reader with the consensus of all.
    #[serde(skip)]
    pub with_consensus: Vec<f64>,
}

impl Agreement {
    /// Compares a nodule's readers; `None` for fewer than two, or where the rule leaves no
    /// consensus. A reader whose outlines enclose no voxel is none.
    pub fn of(
        series_uid: &str,
        nodule: usize,
        read: &ReadNodule,
        spacing_mm: [f64; 3],
    ) -> Option<Self> {
        let consensus = read.consensus.as_ref()?;
        let voxels = consensus.iter().filter(|&&inside| inside).count();
        let diameter_mm = sphere_diameter_mm(voxels as f64 * spacing_mm.iter().product::<f64>());
        let outlined = |mask: &Array3<bool>| mask.iter().any(|&inside| inside);
        let readers: Vec<_> = read.readers.iter().filter(|r| outlined(&r.mask)).collect();
        let (mut pairs, mut distances) = (Vec::new(), Vec::new());
        for (i, a) in readers.iter().enumerate() {
            for b in &readers[i + 1..] {
                pairs.push(dice(&a.mask, &b.mask));
                let surface = surface_distances(a.mask.view(), b.mask.view(), spacing_mm)?;
                distances.push(surface.mean_mm);
            }
        }
        let with_consensus: Vec<f64> = readers.iter().map(|r| dice(&r.mask, consensus)).collect();
        // Where the others agree on no voxel they hold nothing of what the reader holds.
        let with_others: Vec<f64> = readers
            .iter()
            .map(|r| r.of_others.as_ref().map_or(0.0, |others| dice(&r.mask, others)))
            .collect();
        let mean = |values: &[f64]| Spread::of(values).mean;
        Some(Self {
            series_uid: series_uid.to_owned(),
            nodule,
            readers: readers.len(),
            diameter_mm,
            size: SizeGroup::of(diameter_mm),
            texture: TextureGroup::of(&read.texture),
            pair_dice: mean(&pairs)?,
            pair_distance_mm: mean(&distances)?,
            consensus_dice: mean(&with_consensus)?,
            others_dice: mean(&with_others)?,
            pairs,
            with_consensus,
        })
    }
}

fn dice(a: &Array3<bool>, b: &Array3<bool>) -> f64 {
    Overlap::count(a.iter().copied().zip(b.iter().copied())).dice()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dasl_lidc::ReaderMask;

    fn reader(reader: usize, voxels: &[u8], of_others: Option<&[u8]>) -> ReaderMask {
        ReaderMask { reader, mask: row(voxels), of_others: of_others.map(row) }
    }

    fn row(voxels: &[u8]) -> Array3<bool> {
        Array3::from_shape_fn((1, 1, voxels.len()), |(_, _, x)| voxels[x] == 1)
    }

    #[test]
    fn by_hand() {
        let read = ReadNodule {
            readers: vec![
                reader(0, &[1, 1, 1, 1], Some(&[1, 1, 0, 0])),
                reader(1, &[1, 1, 0, 0], None),
                reader(3, &[0, 0, 0, 0], Some(&[1, 1, 1, 1])),
            ],
            consensus: Some(row(&[1, 1, 1, 0])),
            texture: vec![5, 5, 4],
        };
        let found = Agreement::of("1.2", 7, &read, [2.0, 1.0, 1.0]).expect("two readers");
        assert_eq!((found.readers, found.nodule), (2, 7));
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
        close(found.pair_dice, 4.0 / 6.0);
        // 0, 0, 1, 2 one way and 0, 0 the other.
        close(found.pair_distance_mm, 0.5);
        close(found.consensus_dice, f64::midpoint(6.0 / 7.0, 4.0 / 5.0));
        close(found.others_dice, f64::midpoint(4.0 / 6.0, 0.0));
        close(found.diameter_mm, sphere_diameter_mm(6.0));
    }

    #[test]
    fn one_reader_does_not_agree() {
        let consensus = Some(row(&[1]));
        let readers = vec![reader(0, &[1], None)];
        let read = ReadNodule { readers, consensus, texture: vec![1] };
        assert!(Agreement::of("1.2", 1, &read, [1.0; 3]).is_none());
    }
}
