//! `dasl import voi`: nodule volumes become a dataset of small scans.

use anyhow::Result;
use dasl_lidc::Rule;
use dasl_lidc::voi::{list, read};
use dasl_volume::VoxelPos;
use dasl_volume::dataset::ScanRecord;
use rayon::prelude::*;

use super::imported::{Imported, Item};
use super::prepare::{NoduleFacts, Source, add, open};
use crate::Outcome;
use crate::args::ImportVoiArgs;
use crate::progress::bar;

/// Runs the command.
///
/// # Errors
/// If the index can't be read or the dataset not be written.
pub fn run(args: &ImportVoiArgs, json: bool) -> Result<Outcome> {
    let index = list(&args.src)?;
    // The volumes' masks are the 50% consensus, as rule `pylidc` makes it.
    let mut imported = Imported::into(open(&args.out, args.spacing, &Rule::Pylidc.to_string())?);
    for (name, why) in &index.set_aside {
        imported.set_aside(&Item::named(name), why.clone())?;
    }
    let dataset = imported.dataset();
    let progress = bar("import", index.entries.len() as u64);
    let results: Vec<(String, Result<Option<ScanRecord>>)> = (0..index.entries.len())
        .into_par_iter()
        .map(|i| {
            let name = index.entries[i].name.clone();
            let result = if dataset.has_scan(&name) {
                Ok(None)
            } else {
                read(&index, i)
                    .map_err(Into::into)
                    .and_then(|voi| add(dataset, &source(voi)).map(Some))
            };
            progress.inc(1);
            (name, result)
        })
        .collect();
    progress.finish_and_clear();
    for (name, result) in results {
        imported.note(&Item::named(&name), result)?;
    }
    imported.finish(json)
}

fn source(voi: dasl_lidc::voi::Voi) -> Source {
    let (mut sum, mut count) = ([0.0; 3], 0.0);
    for ((z, y, x), _) in voi.mask.voxels.indexed_iter().filter(|(_, l)| **l != 0) {
        for (axis, at) in [z, y, x].into_iter().enumerate() {
            sum[axis] += at as f64;
        }
        count += 1.0;
    }
    let [z, y, x] = sum.map(|s| s / count);
    let facts = NoduleFacts {
        label: 1,
        readers: voi.readers as u32,
        center_mm: voi.ct.geometry.to_mm(VoxelPos::new(z, y, x)),
        malignancy: voi.malignancy,
        texture: voi.texture,
    };
    Source {
        scan_id: voi.name,
        patient_id: voi.patient_id,
        series_uid: voi.series_uid,
        ct: voi.ct,
        labels: voi.mask,
        annotated: true,
        nodules: vec![facts],
        ignored: Vec::new(),
        notes: Vec::new(),
        whole: false,
        files: Vec::new(),
        series_files: 0,
    }
}
