//! Whole scans: reading, resampling, lung mask.

mod shared_data;

use dasl_volume::dicom::{find_series, read_folder};
use dasl_volume::lung::lung_mask;
use dasl_volume::resample::resample_ct;
use dasl_volume::{CtVolume, Geometry, PointMm, VoxelPos};
use std::time::Instant;

struct Scan {
    folder: &'static str,
    patient: &'static str,
    slices: usize,
    pixel_mm: f64,
    origin: [f64; 3],
    /// Centres of the nodules in nodules.json, x, y, z mm.
    nodules: &'static [[f64; 3]],
}

const SCANS: [Scan; 2] = [
    Scan {
        folder: "lidc-idri-0001",
        patient: "LIDC-IDRI-0001",
        slices: 133,
        pixel_mm: 0.703_125,
        origin: [-166.0, -171.699_997, -340.0],
        nodules: &[[56.4, 86.3, -116.0]],
    },
    Scan {
        folder: "lidc-idri-0003",
        patient: "LIDC-IDRI-0003",
        slices: 140,
        pixel_mm: 0.820_312,
        origin: [-228.800_003, -210.0, -379.0],
        nodules: &[
            [74.0, 74.5, -213.0],
            [72.5, 77.2, -190.4],
            [23.5, -47.6, -172.2],
            [-47.2, -30.1, -169.5],
        ],
    },
];

fn value_at(ct: &CtVolume, p: PointMm) -> i16 {
    let VoxelPos { z, y, x } = ct.geometry.to_voxel(p);
    ct.voxels[[z, y, x].map(|v| v.round() as usize)]
}

#[test]
fn whole_scans_read_and_their_nodules_lie_in_the_lung_mask() {
    for expected in &SCANS {
        let Some(folder) = shared_data::scan(expected.folder, expected.patient) else { return };
        let clock = Instant::now();
        let found = find_series(folder.path()).unwrap();
        println!("{}: headers {:.2?}", expected.patient, clock.elapsed());
        assert_eq!((found.series.len(), found.xml.len()), (1, 1));
        assert_eq!(found.series[0].patient_id, expected.patient);

        let clock = Instant::now();
        let scan = read_folder(folder.path()).unwrap();
        println!("read_folder {:.2?}", clock.elapsed());
        let [x, y, z] = expected.origin;
        let geometry = Geometry::axial(
            [expected.slices, 512, 512],
            [2.5, expected.pixel_mm, expected.pixel_mm],
            PointMm::new(x, y, z),
        );
        assert!(scan.volume.geometry.same_grid(&geometry, 1e-6));
        assert_eq!(scan.slice_thickness_mm, Some(2.5));

        let clock = Instant::now();
        let ct = resample_ct(&scan.volume, &scan.volume.geometry.with_spacing([1.0; 3]));
        println!("resample to {:?} {:.2?}", ct.geometry.shape, clock.elapsed());

        let clock = Instant::now();
        let lung = lung_mask(&ct);
        println!("lung mask {:.2?}", clock.elapsed());
        assert!(lung.sure, "{:?}", lung.reason);
        let inside = lung.mask.voxels.iter().filter(|v| **v == 1).count();
        let litres = inside as f64 / 1e6;
        println!("mask {litres:.2} litres");
        assert!((2.0..9.0).contains(&litres));
        for [x, y, z] in expected.nodules {
            let p = PointMm::new(*x, *y, *z);
            let at = ct.geometry.to_voxel(p);
            let at = [at.z, at.y, at.x].map(|v| v.round() as usize);
            assert_eq!(lung.mask.voxels[at], 1, "{}: nodule at {p:?}", expected.patient);
            // Both grids see nearly the same tissue there.
            let native = value_at(&scan.volume, p);
            assert!((i32::from(value_at(&ct, p)) - i32::from(native)).abs() < 400);
        }
    }
}

/// Centres of the boxes that a reader drew around the tumour of Lung_Dx-A0001, slice by slice:
/// x, y, z mm.
const TUMOUR: [[f64; 3]; 11] = [
    [36.3, 194.4, -229.0],
    [38.4, 189.8, -234.0],
    [41.3, 203.7, -199.0],
    [40.1, 199.5, -219.0],
    [40.5, 202.0, -209.0],
    [40.5, 202.4, -214.0],
    [46.4, 202.0, -184.0],
    [36.7, 192.7, -224.0],
    [40.9, 198.6, -194.0],
    [42.2, 202.4, -204.0],
    [41.8, 202.0, -189.0],
];

#[test]
fn a_tumour_of_six_centimetres_at_the_mediastinum_lies_in_the_lung_mask() {
    let Some(data) = shared_data::folder("lung-pet-ct-dx-a0001") else { return };
    let folder = shared_data::unpack(&data.join("Lung_Dx-A0001.tar.xz"));
    let scan = read_folder(folder.path()).unwrap();
    let ct = resample_ct(&scan.volume, &scan.volume.geometry.with_spacing([1.0; 3]));
    let lung = lung_mask(&ct);
    assert!(lung.sure, "{:?}", lung.reason);
    for [x, y, z] in TUMOUR {
        let at = ct.geometry.to_voxel(PointMm::new(x, y, z));
        let at = [at.z, at.y, at.x].map(|v| v.round() as usize);
        assert_eq!(lung.mask.voxels[at], 1, "box at {x} {y} {z}");
    }
    // A mask of everything would pass, and be of no use: lungs with tumour and heart at most.
    let litres = lung.mask.voxels.iter().filter(|v| **v == 1).count() as f64 / 1e6;
    assert!(litres < 8.0, "{litres} litres");
}
