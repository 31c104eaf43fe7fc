//! Whether a reader's file answers the question.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use dasl_volume::image_file::{self, Format};
use dasl_volume::{Geometry, LabelVolume, crop_padded};
use ndarray::Array3;

use super::file_name::unescape;

/// How far a corner of the answer's grid may lie from the image's, in voxels.
const TOLERANCE: f64 = 0.05;

/// A file of the folder that answers a question.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AnswerFile {
    /// The sample's name; `None` if the file's name is none.
    pub sample: Option<String>,
    /// The file.
    pub path: PathBuf,
    /// Whether it says that there is no nodule.
    pub empty: bool,
}

/// The answers in a folder, sorted by sample.
///
/// # Errors
/// If the folder can't be listed.
pub fn answer_files(folder: &Path) -> io::Result<Vec<AnswerFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        files.extend(answer_file(entry?.path()));
    }
    files.sort();
    Ok(files)
}

fn answer_file(path: PathBuf) -> Option<AnswerFile> {
    let name = path.file_name()?.to_str()?;
    if name.starts_with('.') {
        return None;
    }
    if let Some(sample) = name.strip_suffix(".empty") {
        return Some(AnswerFile { sample: unescape(sample), empty: true, path });
    }
    Format::of(&path)?;
    let stem = image_file::stem(&path);
    // 3D Slicer ends the name of a segmentation in .seg.nrrd.
    let stem = stem.strip_suffix(".seg").unwrap_or(&stem);
    let sample = unescape(stem.strip_suffix(".mask")?);
    Some(AnswerFile { sample, empty: false, path })
}

/// Reads a mask that answers a question about an image on `grid`. It may be cropped to what is
/// marked, or reach beyond the image, as segmentations of 3D Slicer do.
///
/// # Errors
/// Why it is refused, and what to do.
pub fn read_mask(path: &Path, grid: &Geometry) -> Result<LabelVolume, String> {
    let mask = image_file::read_labels(path).map_err(|error| error.to_string())?;
    let marked = |voxels: &Array3<u16>| voxels.iter().filter(|&&label| label != 0).count();
    let all = marked(&mask.voxels);
    if all == 0 {
        return Err("no voxel is marked: if there is no nodule, give a file ending in .empty in \
                    its place"
            .into());
    }
    let Some(first) = first_voxel(grid, &mask.geometry) else {
        return Err(format!(
            "{}: save the mask on the grid of the image, not resampled",
            difference(grid, &mask.geometry)
        ));
    };
    let voxels = crop_padded(mask.voxels.view(), first.map(|first| -first), grid.shape, 0);
    let outside = all - marked(&voxels);
    if outside > 0 {
        return Err(format!(
            "{outside} of its {all} marked voxels lie outside the image: mark what the image shows"
        ));
    }
    // The tolerance is for rounding in a file's header: the image's own grid is exact.
    Ok(LabelVolume::new(voxels, *grid))
}

fn smallest_voxel_mm(grid: &Geometry) -> f64 {
    grid.spacing_mm.into_iter().fold(f64::MAX, f64::min)
}

/// Where in the image a mask begins, in voxels [z, y, x]; `None` if its voxels are not the image's,
/// or if it is as large as the image but lies elsewhere: then it is another image's.
fn first_voxel(image: &Geometry, mask: &Geometry) -> Option<[i64; 3]> {
    let at = image.to_voxel(mask.origin_mm);
    let first = [at.z, at.y, at.x].map(|at| at.round() as i64);
    let tolerance_mm = TOLERANCE * smallest_voxel_mm(image);
    let same = image.crop(first, mask.shape).same_grid(mask, tolerance_mm);
    (same && (first == [0; 3] || mask.shape != image.shape)).then_some(first)
}

/// What keeps two grids from being the same, in words.
fn difference(image: &Geometry, mask: &Geometry) -> String {
    let far = |axis: usize, a: f64, b: f64| {
        (a - b).abs() * image.shape[axis] as f64 > TOLERANCE * smallest_voxel_mm(image)
    };
    if (0..3).any(|axis| far(axis, image.spacing_mm[axis], mask.spacing_mm[axis])) {
        let words = |[z, y, x]: [f64; 3]| format!("{x:.4} x {y:.4} x {z:.4} mm");
        let (mask, image) = (words(mask.spacing_mm), words(image.spacing_mm));
        return format!("its voxels are {mask}, not {image}");
    }
    let turned =
        |axis: usize| image.axes[axis].iter().zip(mask.axes[axis]).any(|(&a, b)| far(axis, a, b));
    if (0..3).any(turned) {
        return "its axes run in other directions".into();
    }
    let (a, b) = (mask.origin_mm, image.origin_mm);
    format!(
        "its first voxel lies at ({:.2}, {:.2}, {:.2}) mm, not at ({:.2}, {:.2}, {:.2})",
        a.x, a.y, a.z, b.x, b.y, b.z
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use dasl_volume::{PointMm, nifti};
    use ndarray::Array3;

    fn grid() -> Geometry {
        Geometry::axial([4, 5, 6], [2.0; 3], PointMm::new(-10.5, 3.0, -300.25))
    }

    fn written(geometry: Geometry, label: u16) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a#1.mask.nii.gz");
        let mut voxels = Array3::zeros(geometry.shape);
        voxels[[1, 2, 3]] = label;
        nifti::write_labels(&path, &LabelVolume::new(voxels, geometry)).unwrap();
        (folder, path)
    }

    #[test]
    fn what_differs_is_named() {
        let (_folder, path) = written(grid(), 2);
        let mask = read_mask(&path, &grid()).unwrap();
        assert_eq!((mask.voxels[[1, 2, 3]], mask.geometry), (2, grid()));
        let mut flipped = grid();
        flipped.axes[2] = [-1.0, 0.0, 0.0];
        let between = PointMm::new(-9.5, 3.0, -300.25);
        let wrong = [
            (Geometry { spacing_mm: [2.0, 2.0, 1.9], ..grid() }, "1.9000 x 2.0000 x 2.0000 mm"),
            (grid().crop([0, 0, 1], [4, 5, 6]), "(-8.50, 3.00, -300.25) mm, not at (-10.50"),
            (Geometry::axial([3, 5, 6], [2.0; 3], between), "(-9.50, 3.00, -300.25) mm, not at"),
            (flipped, "other directions"),
        ];
        for (geometry, reason) in wrong {
            let (_folder, path) = written(geometry, 1);
            let refused = read_mask(&path, &grid()).unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
        let (_folder, path) = written(grid(), 0);
        assert!(read_mask(&path, &grid()).unwrap_err().contains(".empty"));
        let half = Geometry { origin_mm: PointMm::new(-10.45, 3.0, -300.25), ..grid() };
        let (_folder, path) = written(half, 1);
        let taken = read_mask(&path, &grid()).unwrap();
        assert_eq!(taken.geometry, grid(), "0.05 mm of 2 mm is rounding, and is taken off");
    }

    #[test]
    fn a_mask_may_be_cropped_or_reach_beyond_the_image() {
        // [1, 2, 3] of the mask is marked.
        for (start, shape) in [([1, 1, 2], [2, 3, 4]), ([-1, -2, -1], [6, 8, 9])] {
            let (_folder, path) = written(grid().crop(start, shape), 3);
            let mask = read_mask(&path, &grid()).unwrap();
            let at = [0, 1, 2].map(|axis| (start[axis] + [1, 2, 3][axis]) as usize);
            assert_eq!((mask.voxels[at], mask.geometry), (3, grid()));
            assert_eq!(mask.voxels.iter().filter(|&&label| label != 0).count(), 1);
        }
        let (_folder, path) = written(grid().crop([3, 0, 0], [2, 3, 4]), 1);
        let refused = read_mask(&path, &grid()).unwrap_err();
        assert!(refused.starts_with("1 of its 1 marked voxels lie outside"), "{refused}");
    }

    #[test]
    fn names_tell_answers_from_other_files() {
        let of = |name: &str| answer_file(PathBuf::from(name)).map(|f| (f.sample, f.empty));
        assert_eq!(of("a#1.mask.nii.gz"), Some((Some("a#1".into()), false)));
        assert_eq!(of("a%20b#1.mask.nrrd"), Some((Some("a b#1".into()), false)));
        assert_eq!(of("a#1.mask.seg.nrrd"), Some((Some("a#1".into()), false)));
        assert_eq!(of("a.mask.mask.nii"), Some((Some("a.mask".into()), false)));
        assert_eq!(of("a#1.empty"), Some((Some("a#1".into()), true)));
        assert_eq!(of("a b.empty"), Some((None, true)));
        for other in ["a#1.image.nii.gz", "a#1.json", "a#1.mask.txt", ".a#1.empty", "done"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
