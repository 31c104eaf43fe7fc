//! The folder of nodule volumes: what it lists, what it reads, and what it says when incomplete.

mod shared_data;

use dasl_lidc::voi;
use std::path::Path;

/// The folder as a user has it after unpacking, in a temporary copy; the images where asked.
fn unpacked(images_in: &str) -> Option<tempfile::TempDir> {
    let source = shared_data::folder("lidc-voi-cubes")?;
    let to = tempfile::tempdir().unwrap();
    for file in ["index.csv", "consensus50_masks.npz"] {
        std::fs::write(to.path().join(file), std::fs::read(source.join(file)).unwrap()).unwrap();
    }
    let images = to.path().join(images_in);
    std::fs::create_dir_all(&images).unwrap();
    shared_data::unpack(&source.join("voi.tar.xz"), &["image/LIDC-IDRI-000*".to_owned()], &images);
    Some(to)
}

#[test]
fn every_matched_volume_is_listed_and_the_rest_set_aside() {
    let Some(folder) = unpacked("") else { return };
    let index = voi::list(folder.path()).unwrap();
    assert_eq!(index.entries.len(), 845);
    assert_eq!(index.set_aside.len(), 1);
    assert_eq!(index.set_aside[0].0, "LIDC-IDRI-0332_R_1");
    assert!(index.set_aside[0].1.contains("matched = 0"));
    assert!(index.entries.is_sorted_by_key(|e| &e.name));
    let first = &index.entries[0];
    assert_eq!(first.name, "LIDC-IDRI-0001_R_1");
    assert_eq!(first.patient_id, "LIDC-IDRI-0001");
    assert_eq!((first.readers, first.start, first.voxels), (4, [85, 334, 292], 5428));
    assert_eq!(first.malignancy, [5, 5, 5, 4]);
}

#[test]
fn a_volume_carries_its_image_and_its_consensus() {
    let Some(folder) = unpacked("voi") else { return };
    let index = voi::list(folder.path()).unwrap();
    for (i, entry) in index.entries.iter().enumerate().take(4) {
        let voi = voi::read(&index, i).unwrap();
        assert_eq!(voi.name, entry.name);
        assert_eq!(voi.ct.geometry, voi.mask.geometry);
        assert_eq!(voi.mask.voxels.iter().filter(|&&v| v == 1).count(), entry.voxels);
        assert!(voi.mask.voxels.iter().all(|&v| v <= 1));
        // A nodule is denser than the lung about it: mask and image sit on each other.
        let mean = |label: u16| {
            let pairs = voi.ct.voxels.iter().zip(&voi.mask.voxels);
            let (sum, n) = pairs
                .filter(|&(_, &m)| m == label)
                .fold((0.0, 0.0), |(sum, n), (&hu, _)| (sum + f64::from(hu), n + 1.0));
            sum / n
        };
        assert!(mean(1) > mean(0) + 50.0, "{}: {} {}", voi.name, mean(1), mean(0));
    }
    // LIDC-IDRI-0001's volume starts at voxel [85, 334, 292] of its scan.
    let voi = voi::read(&index, 0).unwrap();
    assert_eq!(voi.ct.voxels.shape(), [11, 64, 53]);
    let origin = voi.ct.geometry.origin_mm;
    let pixel = 0.703_125;
    assert!((origin.x - (-166.0 + 292.0 * pixel)).abs() < 1e-3, "{origin:?}");
    assert!((origin.y - (-171.699_997 + 334.0 * pixel)).abs() < 1e-3, "{origin:?}");
    assert!((origin.z - (-340.0 + 85.0 * 2.5)).abs() < 1e-3, "{origin:?}");
}

#[test]
fn a_packed_folder_says_how_to_unpack_it() {
    let Some(folder) = shared_data::folder("lidc-voi-cubes") else { return };
    let said = voi::list(&folder).unwrap_err().to_string();
    assert!(said.contains("tar xJf voi.tar.xz"), "{said}");
}

/// A made-up folder: one mask of 2 x 3 x 4 (x, y, z) voxels, two of them set.
fn made_up(index: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("image")).unwrap();
    std::fs::write(folder.path().join("index.csv"), index).unwrap();
    let mut mask = ndarray::Array3::<u8>::zeros((2, 3, 4));
    mask[[1, 2, 3]] = 1;
    mask[[0, 0, 1]] = 1;
    let file = std::fs::File::create(folder.path().join("consensus50_masks.npz")).unwrap();
    let mut npz = ndarray_npy::NpzWriter::new(file);
    npz.add_array("P_R_1", &mask).unwrap();
    npz.finish().unwrap();
    folder
}

const HEAD: &str = "name,matched,readers,row0,col0,slice0,vox50,malignancy,texture,series_uid\n";

fn complaint(folder: &Path) -> String {
    voi::list(folder).unwrap_err().to_string()
}

#[test]
fn incomplete_folders_and_odd_rows_are_named() {
    let folder = tempfile::tempdir().unwrap();
    assert!(complaint(folder.path()).contains("index.csv"));
    std::fs::write(folder.path().join("index.csv"), HEAD).unwrap();
    assert!(complaint(folder.path()).contains("consensus50_masks.npz"));
    std::fs::write(folder.path().join("consensus50_masks.npz"), "").unwrap();
    assert!(complaint(folder.path()).contains("image/"));

    for (row, word) in [
        ("P_R_1,1,,0,0,0,2,3,5,1.2", "readers is empty"),
        ("P_R_1,1,4,0.5,0,0,2,3,5,1.2", "row0 is 0.5"),
        ("P_R_1,1,4,0,0,0,2,3;x,5,1.2", "malignancy"),
        ("P,1,4,0,0,0,2,3,5,1.2", "_R_"),
        ("P_R_1,1,4,0,0", "index.csv"),
    ] {
        let said = complaint(made_up(&format!("{HEAD}{row}\n")).path());
        assert!(said.contains("index.csv") && said.contains(word), "{word}: {said}");
    }
}

#[test]
fn a_volume_without_its_image_names_the_file() {
    let folder = made_up(&format!("{HEAD}P_R_1,1,4,0,0,0,2,3,5,1.2\n"));
    let index = voi::list(folder.path()).unwrap();
    let said = voi::read(&index, 0).unwrap_err().to_string();
    assert!(said.contains("P_R_1.nii.gz"), "{said}");
    let said = voi::read(&index, 7).unwrap_err().to_string();
    assert!(said.contains("no volume 7"), "{said}");
}
