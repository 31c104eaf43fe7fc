//! Whether a reader's file answers the question.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use dasl_volume::components::components;
use dasl_volume::image_file::{self, Format};
use dasl_volume::{Geometry, LabelVolume, crop_padded};
use ndarray::Array3;

use super::file_name::unescape;

/// How far a corner of the answer's grid may lie from the image's, in voxels.
const TOLERANCE: f64 = 0.05;

/// From this volume on a body is a nodule of its own: a ball of 3 mm, mm^3.
const NODULE_MM3: f64 = 14.1;

/// What a reader says of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnswerKind {
    /// A mask.
    Mask,
    /// There is no nodule.
    Empty,
    /// It can't be judged.
    Declined,
}

/// Ends of the names of answers without a mask; Windows hides the .txt that its editor adds.
const WITHOUT_MASK: [(&str, AnswerKind); 4] = [
    (".empty", AnswerKind::Empty),
    (".empty.txt", AnswerKind::Empty),
    (".declined", AnswerKind::Declined),
    (".declined.txt", AnswerKind::Declined),
];

/// A file of the folder that answers a question.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AnswerFile {
    /// The sample's name; `None` if the file's name is none.
    pub sample: Option<String>,
    /// The file.
    pub path: PathBuf,
    /// What it says.
    pub kind: AnswerKind,
}

/// What lies in a queue's folder, each sorted.
#[derive(Debug, Default)]
pub struct Listing {
    /// The answers, by sample.
    pub answers: Vec<AnswerFile>,
    /// The names of all other files that are seen.
    pub others: Vec<String>,
}

/// Lists a queue's folder.
///
/// # Errors
/// If the folder can't be listed.
pub fn list(folder: &Path) -> io::Result<Listing> {
    let mut found = Listing::default();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match answer_file(path) {
            Some(answer) => found.answers.push(answer),
            None if name.starts_with('.') => {}
            None => found.others.push(name),
        }
    }
    found.answers.sort();
    found.others.sort();
    Ok(found)
}

fn answer_file(path: PathBuf) -> Option<AnswerFile> {
    let name = path.file_name()?.to_str()?;
    if name.starts_with('.') {
        return None;
    }
    for (end, kind) in WITHOUT_MASK {
        if let Some(sample) = name.strip_suffix(end) {
            return Some(AnswerFile { sample: unescape(sample), kind, path });
        }
    }
    Format::of(&path)?;
    let stem = image_file::stem(&path);
    // 3D Slicer ends the name of a segmentation in .seg.nrrd.
    let stem = stem.strip_suffix(".seg").unwrap_or(&stem);
    let sample = unescape(stem.strip_suffix(".mask")?);
    Some(AnswerFile { sample, kind: AnswerKind::Mask, path })
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
    one_nodule_each(&voxels, grid)?;
    // The tolerance is for rounding in a file's header: the image's own grid is exact.
    Ok(LabelVolume::new(voxels, *grid))
}

/// Refuses a label that marks two nodules: what is trained on would be one, as large as both and
/// all between them.
fn one_nodule_each(voxels: &Array3<u16>, grid: &Geometry) -> Result<(), String> {
    let labels: BTreeSet<u16> = voxels.iter().copied().filter(|&label| label != 0).collect();
    let voxel_mm3: f64 = grid.spacing_mm.iter().product();
    for label in labels {
        let mask: Vec<bool> = voxels.iter().map(|&own| own == label).collect();
        let bodies = components(&mask, grid.shape).by_size;
        let nodules = bodies.iter().filter(|(_, size)| *size as f64 * voxel_mm3 >= NODULE_MM3);
        let sizes: Vec<String> = nodules.map(|(_, size)| size.to_string()).collect();
        if sizes.len() > 1 {
            return Err(format!(
                "label {label} marks {} bodies that do not touch, of {} voxels: give each nodule \
                 a number of its own, fill slices that were left out, and erase what is no nodule",
                sizes.len(),
                sizes.join(" and ")
            ));
        }
    }
    Ok(())
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
    fn a_label_is_one_nodule() {
        // Voxels of 8 mm^3: two are a nodule, one alone is a slip of the hand.
        let wide = Geometry::axial([4, 5, 6], [2.0; 3], PointMm::new(0.0, 0.0, 0.0));
        let read = |marked: &[([usize; 3], u16)]| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a#1.mask.nii.gz");
            let mut voxels = Array3::zeros(wide.shape);
            for (at, label) in marked {
                voxels[*at] = *label;
            }
            nifti::write_labels(&path, &LabelVolume::new(voxels, wide)).unwrap();
            read_mask(&path, &wide)
        };
        let one = [([0, 0, 0], 1), ([0, 0, 1], 1)];
        let with = |other: u16, more: &[[usize; 3]]| {
            read(&[&one[..], &more.iter().map(|at| (*at, other)).collect::<Vec<_>>()].concat())
        };
        assert!(with(1, &[[3, 4, 5]]).is_ok());
        assert!(with(2, &[[3, 4, 4], [3, 4, 5]]).is_ok());
        let refused = with(1, &[[3, 4, 4], [3, 4, 5], [3, 4, 3]]).unwrap_err();
        assert!(refused.starts_with("label 1 marks 2 bodies"), "{refused}");
        assert!(refused.contains("of 3 and 2 voxels"), "{refused}");
    }

    #[test]
    fn names_tell_answers_from_other_files() {
        use AnswerKind::{Declined, Empty, Mask};
        let of = |name: &str| answer_file(PathBuf::from(name)).map(|f| (f.sample, f.kind));
        assert_eq!(of("a#1.mask.nii.gz"), Some((Some("a#1".into()), Mask)));
        assert_eq!(of("a%20b#1.mask.nrrd"), Some((Some("a b#1".into()), Mask)));
        assert_eq!(of("a#1.mask.seg.nrrd"), Some((Some("a#1".into()), Mask)));
        assert_eq!(of("a.mask.mask.nii"), Some((Some("a.mask".into()), Mask)));
        assert_eq!(of("a#1.empty"), Some((Some("a#1".into()), Empty)));
        assert_eq!(of("a#1.empty.txt"), Some((Some("a#1".into()), Empty)));
        assert_eq!(of("a#1.declined"), Some((Some("a#1".into()), Declined)));
        assert_eq!(of("a b.empty"), Some((None, Empty)));
        for other in ["a#1.image.nii.gz", "a#1.json", "a#1.mask.txt", ".a#1.empty", "done"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
