//! `dasl segment`: from a scan to instance masks, a table and pictures.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use dasl_net::infer::Segmenter;
use dasl_volume::dicom::read_folder;
use dasl_volume::lung::lung_mask;
use dasl_volume::resample::resample_ct;
use dasl_volume::{CtVolume, LabelVolume, PointMm, image_file, nifti, write_atomic};
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::args::SegmentArgs;
use crate::outline_picture::{Outline, extent_mm, picture};
use crate::paste::{Nodule, paste};
use crate::progress::bar;
use crate::run_folder::RunFolder;
use crate::scan_name;
use crate::table;

/// The instance label map in a scan's output folder.
pub const LABELS: &str = "nodules.nii.gz";
/// What scan an output folder is about.
pub const SCAN: &str = "scan.json";
/// Colour of what the network outlines.
pub const PREDICTION: [u8; 3] = [255, 196, 0];

/// A scan to segment.
pub struct Scan {
    /// Name of its output folder.
    pub name: String,
    /// Its series, where it comes from DICOM.
    pub series_uid: Option<String>,
    /// Hounsfield units on its own grid.
    pub ct: CtVolume,
}

/// What is known of the scan of an output folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScanNote {
    /// Name of the folder.
    pub name: String,
    /// Its series, where it comes from DICOM.
    pub series_uid: Option<String>,
    /// Version of dasl.
    pub dasl_version: String,
    /// Whether the lungs were found; else the whole body was searched.
    pub lung_sure: bool,
}

/// What was found in a scan.
pub struct Segmented {
    /// Instances on the scan's own grid.
    pub labels: LabelVolume,
    /// The instances.
    pub nodules: Vec<Nodule>,
    /// Whether the lungs were found.
    pub lung_sure: bool,
}

/// Runs the command.
///
/// # Errors
/// If the run's network can't be read or the output not be written. A scan that can't be read is
/// set aside.
pub fn run(args: &SegmentArgs, json: bool) -> Result<Outcome> {
    let folder = RunFolder::new(&args.model);
    let segmenter = folder.segmenter(&args.device.open()?)?.with_threshold(args.threshold);
    let (mut done, mut set_aside) = (Vec::new(), Vec::new());
    let mut taken = BTreeSet::new();
    for path in &args.scans {
        match read(path) {
            Ok(mut scan) => {
                scan.name = own_name(&args.out, &scan, &taken);
                taken.insert(scan.name.clone());
                let found = segment(&segmenter, &scan);
                write(&args.out, &scan, &found)?;
                done.push((scan.name, found.nodules));
            }
            Err(error) => {
                let reason = format!("{error:#}");
                eprintln!("set aside: {reason}");
                set_aside.push(serde_json::json!({ "source": path, "reason": reason }));
            }
        }
    }
    if json {
        let scans: Vec<_> = done
            .iter()
            .map(|(name, nodules)| serde_json::json!({ "scan": name, "nodules": nodules }))
            .collect();
        let result = serde_json::json!({ "scans": scans, "set_aside": set_aside });
        println!("{}", serde_json::to_string_pretty(&result)?);
    } else if !done.is_empty() {
        println!("{}", render(&done));
        println!("masks, tables and pictures: {}", args.out.display());
    }
    Ok(if set_aside.is_empty() { Outcome::Done } else { Outcome::SomeSetAside })
}

/// Reads a folder of one DICOM series, or a `NIfTI`, `MetaImage` or NRRD file.
///
/// # Errors
/// If it is neither, or can't be read.
pub fn read(path: &Path) -> Result<Scan> {
    if !path.exists() {
        bail!(
            "{}: it does not exist; give a folder of DICOM files or a volume file",
            path.display()
        );
    }
    if path.is_dir() {
        let scan = read_folder(path)?;
        let name =
            if scan.patient_id.is_empty() { image_file::stem(path) } else { scan.patient_id };
        return Ok(Scan { name, series_uid: Some(scan.series_uid), ct: scan.volume });
    }
    Ok(Scan { name: image_file::stem(path), series_uid: None, ct: image_file::read_ct(path)? })
}

/// A name for the scan's output folder that no other scan has: neither one of this call (`taken`)
/// nor another series that was written to `out` before.
fn own_name(out: &Path, scan: &Scan, taken: &BTreeSet<String>) -> String {
    let of_another = |name: &str| {
        let note = std::fs::read_to_string(out.join(name).join(SCAN)).ok();
        let note = note.and_then(|text| serde_json::from_str::<ScanNote>(&text).ok());
        note.is_some_and(|note| note.series_uid != scan.series_uid)
    };
    let plain = scan_name::plain(&scan.name);
    let series = scan.series_uid.as_deref().map(|uid| scan_name::with_series(&scan.name, uid));
    let numbered = (2..).map(|n| format!("{plain}-{n}"));
    let mut names = std::iter::once(plain.clone()).chain(series).chain(numbered);
    names.find(|name| !taken.contains(name) && !of_another(name)).unwrap_or(plain)
}

/// Finds and outlines the nodules of a scan.
pub fn segment(segmenter: &Segmenter, scan: &Scan) -> Segmented {
    let spacing = segmenter.config().net.spacing_mm;
    let native = scan.ct.geometry;
    let grid = native.with_spacing([spacing; 3]);
    let ct = resample_ct(&scan.ct, &grid);
    let lung = lung_mask(&ct);
    if let Some(reason) = &lung.reason {
        eprintln!("{}: lungs not found ({reason}); the whole body is searched", scan.name);
    }
    let progress = bar(&scan.name, 1);
    let found =
        segmenter.segment(ct.voxels.view(), Some(lung.mask.voxels.view()), &mut |done, of| {
            progress.set_length(of as u64);
            progress.set_position(done as u64);
        });
    progress.finish_and_clear();
    let (labels, nodules) = paste(&found, &grid, &native);
    Segmented { labels, nodules, lung_sure: lung.sure }
}

/// Writes label map, table, note and one picture per nodule.
///
/// # Errors
/// If a file can't be written.
pub fn write(out: &Path, scan: &Scan, found: &Segmented) -> Result<PathBuf> {
    let folder = out.join(&scan.name);
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    // A repeated run may find fewer nodules: pictures of the last one must not stay.
    for old in std::fs::read_dir(&folder)?.flatten() {
        let name = old.file_name().to_string_lossy().into_owned();
        if name.strip_prefix("nodule-").is_some_and(|rest| rest.strip_suffix(".png").is_some()) {
            std::fs::remove_file(old.path())?;
        }
    }
    nifti::write_labels(&folder.join(LABELS), &found.labels)?;
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(["id", "x_mm", "y_mm", "z_mm", "diameter_mm", "volume_mm3", "score"])?;
    for n in &found.nodules {
        let numbers = [n.x_mm, n.y_mm, n.z_mm, n.diameter_mm, n.volume_mm3];
        let numbers = numbers.map(|v| format!("{v:.2}"));
        csv.write_field(n.id.to_string())?;
        csv.write_record(numbers.iter().chain([&format!("{:.4}", n.score)]))?;
    }
    let table = csv.into_inner()?;
    write_atomic(&folder.join("nodules.csv"), |file| file.write_all(&table))?;
    let note = ScanNote {
        name: scan.name.clone(),
        series_uid: scan.series_uid.clone(),
        dasl_version: env!("CARGO_PKG_VERSION").into(),
        lung_sure: found.lung_sure,
    };
    let note = serde_json::to_string_pretty(&note)?;
    write_atomic(&folder.join(SCAN), |file| file.write_all(note.as_bytes()))?;
    for n in &found.nodules {
        let outline =
            Outline { labels: &found.labels, label: Some(n.id), color: PREDICTION, dashed: false };
        let center = PointMm::new(n.x_mm, n.y_mm, n.z_mm);
        let extent = extent_mm(n.diameter_mm);
        let name = format!("nodule-{:03}.png", n.id);
        picture(&scan.ct, &[outline], center, extent).save(&folder.join(name))?;
    }
    Ok(folder)
}

fn render(scans: &[(String, Vec<Nodule>)]) -> String {
    let header = ["scan", "id", "x mm", "y mm", "z mm", "diameter mm", "volume mm3", "score"];
    let row = |scan: &String, n: &Nodule| {
        let mut row = vec![scan.clone(), n.id.to_string()];
        row.extend([n.x_mm, n.y_mm, n.z_mm, n.diameter_mm].map(|v| format!("{v:.1}")));
        row.extend([format!("{:.0}", n.volume_mm3), format!("{:.3}", n.score)]);
        row
    };
    let rows = scans.iter().flat_map(|(scan, nodules)| nodules.iter().map(move |n| row(scan, n)));
    table::render(&header, &rows.collect::<Vec<_>>())
}
