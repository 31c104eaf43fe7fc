//! LIDC readings with the slices they were drawn on, from DICOM or from a table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use dasl_lidc::{Outline, Reading, SlicePositions, XmlKind, outlines, read_xml};
use dasl_volume::dicom::{SeriesFiles, find_series, read_grid};
use rayon::prelude::*;
use serde::Deserialize;

/// Rows and columns of every CT image of LIDC-IDRI.
const LIDC_IMAGE: [usize; 2] = [512, 512];

/// Where the voxels of a series lie.
pub struct Slices {
    positions: SlicePositions,
    /// Rows and columns.
    image: [usize; 2],
    /// [z, y, x].
    pub spacing_mm: [f64; 3],
    /// DICOM's `SliceThickness`.
    pub thickness_mm: f64,
}

impl Slices {
    /// The outlines of a reading on these slices.
    ///
    /// # Errors
    /// If an outline does not lie on them.
    pub fn outlines(&self, reading: &Reading) -> Result<Vec<Outline>> {
        Ok(outlines(reading, &self.positions, self.image)?)
    }

    fn of_dicom(files: &SeriesFiles) -> Result<Self> {
        let grid = read_grid(files)?;
        let geometry = grid.geometry;
        let [_, rows, columns] = geometry.shape;
        let positions = SlicePositions::of(&geometry)
            .with_context(|| format!("series {}: its slices are not axial", files.series_uid))?;
        Ok(Self {
            positions,
            image: [rows, columns],
            spacing_mm: geometry.spacing_mm,
            thickness_mm: grid.slice_thickness_mm.unwrap_or(geometry.spacing_mm[0]),
        })
    }

    /// From a row of the table; `None` if its numbers make no slices.
    fn of_row(row: &Row) -> Option<Self> {
        let z_mm: Vec<f64> =
            row.z_mm.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let mut gaps: Vec<f64> = z_mm.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
        gaps.sort_by(f64::total_cmp);
        let gap = gaps.get(gaps.len() / 2).copied().unwrap_or(row.slice_thickness);
        let lengths = [gap, row.pixel_spacing, row.slice_thickness];
        if !lengths.iter().all(|mm| mm.is_finite() && *mm > 0.0) {
            return None;
        }
        Some(Self {
            positions: SlicePositions::new(z_mm)?,
            image: LIDC_IMAGE,
            spacing_mm: [gap, row.pixel_spacing, row.pixel_spacing],
            thickness_mm: row.slice_thickness,
        })
    }
}

/// A row of the table: lengths in mm, slices' positions separated by spaces.
#[derive(Deserialize)]
struct Row {
    series_uid: String,
    slice_thickness: f64,
    pixel_spacing: f64,
    z_mm: String,
}

/// Readings by series, and what was of no use, with the reason.
pub struct Found {
    /// Sorted by series UID.
    pub series: Vec<(Reading, Slices)>,
    /// What, why.
    pub set_aside: Vec<(String, String)>,
}

/// Pairs the readings below `src` with their slices: those of the DICOM series beside them, or of
/// `table`.
///
/// # Errors
/// If a folder or the table can't be read.
pub fn find(src: &Path, table: Option<&Path>) -> Result<Found> {
    if src.join("dataset.json").is_file() {
        bail!(
            "{} is a dataset, which keeps the consensus only; name the LIDC-IDRI folder it was \
             imported from",
            src.display()
        );
    }
    let mut set_aside = Vec::new();
    let (xml, mut slices) = match table {
        Some(table) => (xml_below(src)?, of_table(table)?),
        None => of_dicom(src, &mut set_aside)?,
    };
    let read: Vec<_> = xml.par_iter().map(|path| read_xml(path)).collect();
    let mut readings = BTreeMap::<String, Reading>::new();
    for (path, read) in xml.iter().zip(read) {
        match read {
            Ok(XmlKind::Ct(reading)) => {
                let before = readings.get(&reading.series_uid).map_or(0, Reading::annotations);
                if before == 0 || reading.annotations() > before {
                    readings.insert(reading.series_uid.clone(), reading);
                }
            }
            Ok(XmlKind::XRay) => {}
            Err(error) => set_aside.push((path.display().to_string(), error.to_string())),
        }
    }
    let mut series = Vec::new();
    for (uid, reading) in readings {
        match slices.remove(&uid) {
            Some(of_series) => series.push((reading, of_series)),
            None => set_aside.push((uid, "read, but its slices are not known".into())),
        }
    }
    Ok(Found { series, set_aside })
}

type BySeries = BTreeMap<String, Slices>;

fn of_dicom(src: &Path, set_aside: &mut Vec<(String, String)>) -> Result<(Vec<PathBuf>, BySeries)> {
    let found = find_series(src)?;
    let mut slices = BTreeMap::new();
    for files in found.series.iter().filter(|files| files.modality == "CT") {
        match Slices::of_dicom(files) {
            Ok(of_series) => {
                slices.insert(files.series_uid.clone(), of_series);
            }
            Err(error) => set_aside.push((files.series_uid.clone(), format!("{error:#}"))),
        }
    }
    Ok((found.xml, slices))
}

fn of_table(path: &Path) -> Result<BySeries> {
    let named = || path.display().to_string();
    let mut slices = BTreeMap::new();
    for row in csv::Reader::from_path(path).with_context(named)?.deserialize() {
        let row: Row = row.with_context(named)?;
        let of_row = Slices::of_row(&row).with_context(|| {
            format!(
                "{}: series {}: lengths must be positive, z_mm numbers",
                named(),
                row.series_uid
            )
        })?;
        slices.insert(row.series_uid, of_row);
    }
    Ok(slices)
}

fn xml_below(src: &Path) -> Result<Vec<PathBuf>> {
    let mut xml = Vec::new();
    for entry in walkdir::WalkDir::new(src).follow_links(true).sort_by_file_name() {
        let path = entry?.into_path();
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("xml")) {
            xml.push(path);
        }
    }
    Ok(xml)
}
