//! `dasl compose`: nodules are put into the lungs of other scans.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use dasl_volume::dataset::{
    ComposedRecord, Dataset, DatasetWriter, InsertedRecord, NO_RULE, NoduleRecord, ScanArrays,
    ScanRecord,
};
use dasl_volume::{CtVolume, LabelVolume, Volume, nifti};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::imported::{Imported, Item};
use super::prepare::{boxes, counts, open};
use crate::Outcome;
use crate::args::ComposeArgs;
use crate::compose::block::Block;
use crate::compose::donor::{Donor, Unfit};
use crate::compose::excluded::{self, BoxMm};
use crate::compose::insert::{Canvas, Insertion, Wanted};
use crate::compose::room::Lie;
use crate::progress::bar;
use crate::scan_name;

/// Where the CTs are written to with `--nifti`, in the dataset's folder.
const NIFTI: &str = "nifti";

/// Runs the command.
///
/// # Errors
/// If a dataset can't be read or written, they do not fit together, or there is no nodule to
/// insert. A background without room is set aside.
pub fn run(args: &ComposeArgs, json: bool) -> Result<Outcome> {
    if let Some(attached) = args.attached.filter(|n| *n > args.per_scan) {
        bail!("--attached {attached} is more than --per-scan {}", args.per_scan);
    }
    let nodules = Dataset::open(&args.nodules)?;
    let backgrounds = Dataset::open(&args.backgrounds)?;
    let sources = [&args.nodules, &args.backgrounds].map(|source| source.canonicalize().ok());
    if args.out.canonicalize().is_ok_and(|out| sources.contains(&Some(out))) {
        bail!("--out {} is what is composed of: name another folder", args.out.display());
    }
    check_together(&nodules, &backgrounds)?;
    let excluded = match &args.exclude {
        Some(file) => known_scans(excluded::read(file)?, &backgrounds, file)?,
        None => BTreeMap::new(),
    };
    let donors = donors(&nodules, args.patients.as_deref(), args.seed, json)?;
    let info = nodules.info();
    let mut imported = Imported::into(open(&args.out, info.spacing_mm, &info.rule)?);
    let ids = backgrounds.scan_ids();
    let progress = bar("compose", (ids.len() * args.copies) as u64);
    for (b, id) in ids.iter().enumerate() {
        for copy in 0..args.copies {
            let job = Job {
                args,
                donors: &donors,
                // Every scan begins where the one before ended, so that all nodules have their turn.
                first: (b * args.copies + copy) * args.per_scan,
                boxes: excluded.get(id).map_or(&[], Vec::as_slice),
                name: scan_name::plain(&format!("composed-{id}-{}", copy + 1)),
            };
            progress.set_message(job.name.clone());
            let record = job.compose(&backgrounds, id, imported.dataset());
            imported.note(&Item::named(&job.name), record)?;
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    imported.finish(json)
}

fn check_together(nodules: &Dataset, backgrounds: &Dataset) -> Result<()> {
    let (ours, theirs) = (nodules.info(), backgrounds.info());
    if (ours.spacing_mm - theirs.spacing_mm).abs() > 1e-9 {
        bail!(
            "{} has voxels of {} mm, {} of {} mm; import one of them again with the other's --spacing",
            nodules.root().display(),
            ours.spacing_mm,
            backgrounds.root().display(),
            theirs.spacing_mm
        );
    }
    if theirs.rule != NO_RULE && ours.rule != theirs.rule {
        bail!(
            "{} follows rule {}, {} rule {}; import one of them again with the other's --rule",
            nodules.root().display(),
            ours.rule,
            backgrounds.root().display(),
            theirs.rule
        );
    }
    Ok(())
}

fn known_scans(
    boxes: BTreeMap<String, Vec<BoxMm>>,
    backgrounds: &Dataset,
    file: &Path,
) -> Result<BTreeMap<String, Vec<BoxMm>>> {
    if let Some(id) = boxes.keys().find(|id| !backgrounds.has_scan(id)) {
        bail!("{}: {} has no scan {id}", file.display(), backgrounds.root().display());
    }
    Ok(boxes)
}

/// The nodules that can be put elsewhere, in random order; says how many can't.
fn donors(nodules: &Dataset, patients: Option<&Path>, seed: u64, json: bool) -> Result<Vec<Donor>> {
    let patients = patients.map(read_patients).transpose()?;
    let (mut wanted, mut composed) = (Vec::new(), 0);
    for id in nodules.scan_ids() {
        let scan = nodules.scan(&id)?;
        if scan.composed.is_some() {
            composed += 1;
            continue;
        }
        if patients.as_ref().is_none_or(|list| list.contains(&scan.patient_id)) {
            wanted.extend(scan.nodules.iter().map(|n| (id.clone(), n.label)));
        }
    }
    let read: Vec<_> = wanted
        .par_iter()
        .map(|(id, label)| Donor::read(nodules, id, *label))
        .collect::<Result<_>>()?;
    let (mut donors, mut unfit) = (Vec::new(), BTreeMap::<Unfit, usize>::new());
    for donor in read {
        match donor {
            Ok(donor) => donors.push(donor),
            Err(why) => *unfit.entry(why).or_default() += 1,
        }
    }
    let reasons = unfit.iter().map(|(why, n)| format!("{n} {}", why.words()));
    // Their nodules are other patients'.
    let composed = (composed > 0).then(|| format!("those of {composed} composed scans"));
    let reasons: Vec<_> = reasons.chain(composed).collect();
    let left_out = match reasons.as_slice() {
        [] => String::new(),
        reasons => format!("; left out: {}", reasons.join(", ")),
    };
    if donors.is_empty() {
        let of = if patients.is_some() { " of these patients" } else { "" };
        bail!("{}: no nodule{of} can be inserted{left_out}", nodules.root().display());
    }
    let said = format!("{} of {} nodules can be inserted{left_out}", donors.len(), wanted.len());
    if json {
        eprintln!("{said}");
    } else {
        println!("{said}");
    }
    donors.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    Ok(donors)
}

/// Patients, one id a line.
fn read_patients(file: &Path) -> Result<BTreeSet<String>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let patients: BTreeSet<String> =
        text.lines().map(str::trim).filter(|l| !l.is_empty()).map(String::from).collect();
    if patients.is_empty() {
        bail!("{}: names no patient; write one id a line", file.display());
    }
    Ok(patients)
}

/// One scan to compose.
struct Job<'a> {
    args: &'a ComposeArgs,
    donors: &'a [Donor],
    /// The donor that is tried first.
    first: usize,
    /// What of the background is left out.
    boxes: &'a [BoxMm],
    /// Of the composed scan, and of its patient.
    name: String,
}

impl Job<'_> {
    /// `None` if it is there already.
    fn compose(
        &self,
        backgrounds: &Dataset,
        id: &str,
        out: &DatasetWriter,
    ) -> Result<Option<ScanRecord>> {
        if out.has_scan(&self.name) {
            return Ok(None);
        }
        let background = backgrounds.scan(id)?;
        if !background.whole || !background.lung_sure {
            bail!(
                "{id} has no lung mask; only whole scans whose lungs were found can take nodules"
            );
        }
        if background.composed.is_some() {
            bail!("{id} is composed itself; only patients' own scans can take nodules");
        }
        let shape = background.geometry.shape;
        let mut canvas = Canvas {
            ct: backgrounds.read_ct(id, [0; 3], shape)?,
            labels: backgrounds.read_labels(id, [0; 3], shape)?,
            lung: backgrounds.read_lung(id, [0; 3], shape)?,
        };
        self.blank(&mut canvas, &background)?;
        let spacing_mm = backgrounds.info().spacing_mm;
        let Some(room) = canvas.room(&background, spacing_mm) else {
            bail!("{id} has no lung mask outside the boxes of --exclude");
        };
        let (before, after) = self.donors.split_at(self.first % self.donors.len());
        let others = |donor: &&Donor| donor.patient_id != background.patient_id;
        let wanted = Wanted {
            donors: after.iter().chain(before).filter(others).collect(),
            nodules: self.args.per_scan,
            attached: self.args.attached.unwrap_or(self.args.per_scan / 3),
            nothing: self.args.nothing.unwrap_or(self.args.per_scan),
        };
        let key = format!("{}/{}", self.args.seed, self.name);
        let mut rng = ChaCha8Rng::from_seed(Sha256::digest(key).into());
        let inserted = canvas.fill(room, &wanted, spacing_mm, &mut rng);
        if wanted.nodules > 0 && !inserted.iter().any(|i| i.label.is_some()) {
            bail!("{id} has no room for any of the nodules in its lungs");
        }
        let (record, arrays) = self.record(&background, canvas, &inserted);
        if self.args.nifti {
            let folder = out.root().join(NIFTI);
            std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
            let ct = CtVolume::new(arrays.ct.clone(), record.geometry);
            nifti::write_ct(&folder.join(format!("{}.nii.gz", self.name)), &ct)?;
        }
        out.write_scan(&record, &arrays)?;
        Ok(Some(record))
    }

    /// Leaves out the boxes of the background.
    fn blank(&self, canvas: &mut Canvas, background: &ScanRecord) -> Result<()> {
        for corners in self.boxes {
            let block = corners.voxels(&background.geometry);
            let own = background
                .nodules
                .iter()
                .find(|n| Block::new(n.box_start, n.box_shape).meets(&block));
            if let Some(nodule) = own {
                bail!(
                    "{}: a box of --exclude touches nodule {}; a scan's own nodules stay",
                    background.scan_id,
                    nodule.label
                );
            }
            canvas.blank(&block);
        }
        Ok(())
    }

    fn record(
        &self,
        background: &ScanRecord,
        canvas: Canvas,
        inserted: &[Insertion],
    ) -> (ScanRecord, ScanArrays) {
        let grid = background.geometry;
        let labels: LabelVolume = Volume::new(canvas.labels, grid);
        let (boxes, voxels) = (boxes(&labels), counts(&labels));
        let new = inserted.iter().filter_map(|i| {
            let center_mm = i.center_mm(&grid);
            Some(NoduleRecord { label: i.label?, center_mm, ..i.donor.record.clone() })
        });
        // A composed scan is a new one: its own grid is the dataset's.
        let nodules = background.nodules.iter().cloned().chain(new).filter_map(|nodule| {
            let (low, high) = *boxes.get(&nodule.label)?;
            let native_voxels = *voxels.get(&nodule.label)?;
            let volume_mm3 = native_voxels as f64 * grid.voxel_mm3();
            Some(NoduleRecord {
                diameter_mm: dasl_metrics::sphere_diameter_mm(volume_mm3),
                volume_mm3,
                native_voxels,
                box_start: low,
                box_shape: [0, 1, 2].map(|a| high[a] - low[a] + 1),
                ..nodule
            })
        });
        let nodules: Vec<_> = nodules.collect();
        let put = |i: &Insertion| {
            let (scan_id, patient_id) = if i.own_lung {
                (background.scan_id.clone(), background.patient_id.clone())
            } else {
                (i.donor.scan_id.clone(), i.donor.patient_id.clone())
            };
            InsertedRecord {
                label: i.label,
                scan_id,
                patient_id,
                center_mm: i.center_mm(&grid),
                attached: i.lie == Lie::Attached,
            }
        };
        let composed = ComposedRecord {
            background: background.scan_id.clone(),
            background_patient: background.patient_id.clone(),
            inserted: inserted.iter().map(put).collect(),
        };
        let record = ScanRecord {
            scan_id: self.name.clone(),
            patient_id: self.name.clone(),
            series_uid: String::new(),
            geometry: grid,
            native_geometry: grid,
            lung_sure: true,
            whole: true,
            annotated: background.annotated || self.args.looked_at,
            nodules,
            ignored: background.ignored.clone(),
            candidates: Vec::new(),
            notes: background.notes.clone(),
            source: background.source.clone(),
            series_files: background.series_files,
            composed: Some(composed),
        };
        let arrays = ScanArrays {
            ct: canvas.ct,
            native_labels: labels.voxels.clone(),
            labels: labels.voxels,
            lung: canvas.lung,
        };
        (record, arrays)
    }
}
