//! Prints what this crate makes of a folder of LIDC XML, one JSON line per CT file, for
//! `oracle/check_lidc.py` to compare with pylidc.
//!
//! `lidc_dump XML_FOLDER SCANS_CSV`; the CSV has the columns `series_uid`, `slice_thickness` (mm)
//! and `z_mm` (the slices' positions, ascending, separated by spaces).

use dasl_lidc::{
    Mask, Outline, Rule, SlicePositions, XmlKind, cluster, consensus, outlines, read_xml,
};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

type AnyError = Box<dyn Error + Send + Sync>;

struct Scan {
    slice_thickness_mm: f64,
    slices: SlicePositions,
}

fn main() -> Result<(), AnyError> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, scans] = args.as_slice() else {
        return Err("usage: lidc_dump XML_FOLDER SCANS_CSV".into());
    };
    let scans = scans_of(Path::new(scans))?;
    let mut files: Vec<PathBuf> = walkdir::WalkDir::new(folder)
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .map(walkdir::DirEntry::into_path)
        .filter(|p| p.extension().is_some_and(|e| e == "xml"))
        .collect();
    files.sort();
    let lines: Vec<Option<Value>> =
        files.par_iter().map(|f| line(f, &scans)).collect::<Result<_, _>>()?;
    for line in lines.into_iter().flatten() {
        println!("{line}");
    }
    Ok(())
}

fn scans_of(csv: &Path) -> Result<BTreeMap<String, Scan>, AnyError> {
    let mut scans = BTreeMap::new();
    for row in csv::Reader::from_path(csv)?.deserialize() {
        let (series, slice_thickness_mm, z): (String, f64, String) = row?;
        let z = z.split(' ').map(str::parse).collect::<Result<Vec<f64>, _>>()?;
        let slices = SlicePositions::new(z).ok_or("a scan without slices")?;
        scans.insert(series, Scan { slice_thickness_mm, slices });
    }
    Ok(scans)
}

fn line(file: &Path, scans: &BTreeMap<String, Scan>) -> Result<Option<Value>, AnyError> {
    let XmlKind::Ct(reading) = read_xml(file)? else { return Ok(None) };
    let Some(scan) = scans.get(&reading.series_uid) else { return Ok(None) };
    let outlines = outlines(&reading, &scan.slices, [512, 512])?;
    let groups = cluster(&outlines, scan.slice_thickness_mm);
    let member = |ids: &Vec<usize>| ids.iter().map(|&i| &outlines[i]).collect::<Vec<_>>();
    let masks: Vec<Value> = groups.iter().map(|g| masks(&member(g))).collect();
    Ok(Some(json!({
        "file": file.display().to_string(),
        "series_uid": reading.series_uid,
        "outlines": outlines.iter().map(outline).collect::<Vec<_>>(),
        "clusters": groups,
        "masks": masks,
    })))
}

fn outline(o: &Outline) -> Value {
    let contours: Vec<Value> =
        o.contours.iter().map(|c| json!([c.inclusion, c.slice, c.points])).collect();
    let c = o.characteristics;
    let ratings = [
        c.subtlety,
        c.internal_structure,
        c.calcification,
        c.sphericity,
        c.margin,
        c.lobulation,
        c.spiculation,
        c.texture,
        c.malignancy,
    ];
    json!({ "reader": o.reader, "id": o.id, "ratings": ratings, "contours": contours })
}

fn masks(group: &[&Outline]) -> Value {
    let count = |rule| consensus(group, rule).map_or(0, |m| m.count());
    json!({
        "pylidc": consensus(group, Rule::Pylidc).as_ref().map(runs),
        "two-of-four": count(Rule::TwoOfFour),
        "three-readers-union": count(Rule::ThreeReadersUnion),
    })
}

/// The mask's box and its run lengths in array order [z, y, x], the first run being outside.
fn runs(mask: &Mask) -> Value {
    let (mut runs, mut last) = (vec![0usize], false);
    for &inside in &mask.voxels {
        if inside != last {
            runs.push(0);
            last = inside;
        }
        *runs.last_mut().expect("starts with one run") += 1;
    }
    json!({ "start": mask.start, "shape": mask.voxels.shape(), "runs": runs })
}
