//! What the readers marked survives the XML, and lies on the nodules.

use dasl_lidc::{SlicePositions, XmlKind, outlines, read_xml};
use dasl_phantom::{Annotation, Phantom, PhantomConfig, Texture, make, write_dicom};
use dasl_volume::VoxelPos;

fn config() -> PhantomConfig {
    PhantomConfig { shape: [60, 120, 170], spacing_mm: [2.0, 1.1, 1.1], ..Default::default() }
}

/// Voxels [z, y, x] of the scan that a reader outlined.
fn voxels(annotation: &Annotation) -> impl Iterator<Item = [usize; 3]> + '_ {
    let [z0, y0, x0] = annotation.start;
    let set = annotation.mask.indexed_iter().filter(|(_, set)| **set);
    set.map(move |((z, y, x), _)| [z0 + z, y0 + y, x0 + x])
}

fn annotations(phantom: &Phantom) -> impl Iterator<Item = &Annotation> {
    phantom.readings.iter().flat_map(|reading| &reading.nodules)
}

#[test]
fn the_xml_gives_back_every_readers_mask() {
    let (mut small, mut other) = (0, 0);
    for seed in 0..3 {
        let phantom = make(&config(), seed);
        let root = tempfile::tempdir().unwrap();
        let folder = write_dicom(&phantom, "PHANTOM-001", seed, root.path()).unwrap();
        let XmlKind::Ct(reading) = read_xml(&folder.join("001.xml")).unwrap() else {
            panic!("not a CT reading");
        };
        assert_eq!(reading.sessions.len(), phantom.readings.len());
        for (session, expected) in reading.sessions.iter().zip(&phantom.readings) {
            let points = session.nodules.iter().filter(|n| !n.is_annotation()).count();
            assert_eq!(points, expected.small_nodules.len());
            assert_eq!(session.non_nodules.len(), expected.non_nodules.len());
            for (read, [_, y, x]) in session.non_nodules.iter().zip(&expected.non_nodules) {
                assert_eq!(read.point, [*x as i32, *y as i32]);
            }
            small += points;
            other += session.non_nodules.len();
        }
        let slices = SlicePositions::of(&phantom.ct.geometry).unwrap();
        let read = outlines(&reading, &slices, [120, 170]).unwrap();
        assert_eq!(read.len(), annotations(&phantom).count());
        for (read, expected) in read.iter().zip(annotations(&phantom)) {
            let mut found: Vec<_> = read.mask().indices().collect();
            found.sort_unstable();
            assert_eq!(found, voxels(expected).collect::<Vec<_>>());
            assert_eq!(read.characteristics.texture, expected.ratings.texture);
            assert_eq!(read.characteristics.malignancy, expected.ratings.malignancy);
        }
    }
    assert!(small > 0 && other > 0, "the XML has every kind of mark");
}

#[test]
fn masks_lie_on_the_nodules_and_readers_differ() {
    let mut agreement = Vec::new();
    for seed in 10..14 {
        let phantom = make(&config(), seed);
        let geometry = phantom.ct.geometry;
        assert!(phantom.nodules.len() >= 3, "{} nodules", phantom.nodules.len());
        for (index, nodule) in phantom.nodules.iter().enumerate() {
            let of_nodule: Vec<_> = annotations(&phantom).filter(|a| a.nodule == index).collect();
            assert!(of_nodule.len() >= 3, "nodule {index} has {} readers", of_nodule.len());
            for a in &of_nodule {
                let n = voxels(a).count() as f64;
                let sum = voxels(a).fold([0.0; 3], |s, at| {
                    [s[0] + at[0] as f64, s[1] + at[1] as f64, s[2] + at[2] as f64]
                });
                let center = geometry.to_mm(VoxelPos::new(sum[0] / n, sum[1] / n, sum[2] / n));
                let apart = center.distance_mm(nodule.center_mm);
                assert!(apart < 0.35 * nodule.diameter_mm, "{apart} mm off {nodule:?}");
                let diameter = (n * geometry.voxel_mm3() * 6.0 / std::f64::consts::PI).cbrt();
                let ratio = diameter / nodule.diameter_mm;
                assert!((0.7..1.3).contains(&ratio), "{diameter} mm for {nodule:?}");
            }
            for (i, a) in of_nodule.iter().enumerate() {
                agreement.extend(of_nodule[i + 1..].iter().map(|b| dice(a, b)));
            }
        }
    }
    let mean = agreement.iter().sum::<f64>() / agreement.len() as f64;
    assert!((0.82..0.96).contains(&mean), "readers agree at Dice {mean}");
    assert!(agreement.iter().all(|d| *d > 0.5));
}

fn dice(a: &Annotation, b: &Annotation) -> f64 {
    let a: std::collections::BTreeSet<_> = voxels(a).collect();
    let both = voxels(b).filter(|at| a.contains(at)).count();
    2.0 * both as f64 / (a.len() + voxels(b).count()) as f64
}

#[test]
fn nodules_are_seen_in_the_lung() {
    let mut seen = [0; 3];
    for seed in 20..28 {
        let phantom = make(&config(), seed);
        let lung = phantom.ct.voxels.iter().filter(|hu| (-950..-750).contains(*hu)).count();
        let part = lung as f64 / phantom.ct.voxels.len() as f64;
        assert!((0.12..0.5).contains(&part), "lung fills {part} of the scan");
        for (index, nodule) in phantom.nodules.iter().enumerate() {
            let Some(a) = annotations(&phantom).find(|a| a.nodule == index) else { continue };
            let mut hu: Vec<_> = voxels(a).map(|at| phantom.ct.voxels[at]).collect();
            hu.sort_unstable();
            let median = hu[hu.len() / 2];
            let (expected, kind) = match nodule.kind {
                Texture::Solid => (-350..100, 0),
                Texture::PartSolid => (-650..30, 1),
                Texture::GroundGlass => (-720..-480, 2),
            };
            assert!(expected.contains(&median), "{median} HU in {nodule:?}");
            seen[kind] += 1;
            let at = phantom.ct.geometry.to_voxel(nodule.center_mm);
            assert!(at.z > 0.0 && at.y > 0.0 && at.x > 0.0, "outside the scan: {nodule:?}");
        }
    }
    assert!(seen.iter().all(|&n| n > 0), "textures seen: {seen:?}");
}
