//! The scans of a call, each with the names that its output folder may have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use dasl_volume::dicom::{SeriesFiles, read_series};
use dasl_volume::image_file;
use sha2::{Digest, Sha256};

use super::output::ScanNote;
use super::scan::{Identity, Scan};
use crate::scan_list::ScanList;
use crate::scan_name;
use crate::series_choice::SeriesChoice;
use crate::shard::Shard;
use crate::spoiled::whole_series;

/// What is to be done.
enum Input {
    Series(SeriesFiles),
    Image(PathBuf),
    /// What can't be read, with the reason.
    Bad(PathBuf, String),
}

/// One scan, not read yet.
pub struct Entry {
    input: Input,
    /// A name that is short, and may be another's too.
    plain: String,
    /// Whether no other scan of the call has it.
    alone: bool,
}

/// All scans of a call, series before files, sorted whatever the order of the arguments; what can't
/// be read comes last.
pub struct Batch {
    entries: Vec<Entry>,
}

impl Batch {
    /// The scans of files and folders; one that is named twice is there once. Volume files in `out`,
    /// where it lies below such a folder, are results, finished or not, and no scans.
    pub fn of(arguments: &[PathBuf], out: &Path, choice: &SeriesChoice) -> Self {
        let out = canonical(out);
        let mut series: BTreeMap<(String, String), SeriesFiles> = BTreeMap::new();
        let mut images = BTreeMap::new();
        let (mut bad, mut met) = (BTreeMap::new(), BTreeSet::new());
        for argument in arguments {
            let mut list = match ScanList::of(argument) {
                Ok(list) => list,
                Err(error) => {
                    bad.insert(argument.clone(), without(argument, &error));
                    continue;
                }
            };
            for files in list.series {
                met.insert(files.series_uid.clone());
                if !choice.takes(&files) {
                    continue;
                }
                if let Err(error) = whole_series(&files, &mut list.spoiled) {
                    let folder = folder(&files);
                    bad.insert(folder.clone(), without(&folder, &error));
                    continue;
                }
                let key = (files.patient_id.clone(), files.series_uid.clone());
                match series.get_mut(&key) {
                    // As if one folder held both.
                    Some(known) => known.files.extend(files.files),
                    None => drop(series.insert(key, files)),
                }
            }
            let is_result = out != canonical(argument) && out.starts_with(canonical(argument));
            let all = list.images.into_iter().map(|path| (canonical(&path), path));
            images.extend(all.filter(|(path, _)| !(is_result && path.starts_with(&out))));
            bad.extend(list.spoiled.files);
        }
        choice.warn_of_missing(&met);
        let mut inputs: Vec<(Input, String)> = Vec::new();
        for mut files in series.into_values() {
            let mut seen = BTreeSet::new();
            files.files.sort();
            files.files.retain(|file| seen.insert(canonical(file)));
            let name = match files.patient_id.as_str() {
                "" => image_file::stem(&folder(&files)),
                patient => patient.to_string(),
            };
            inputs.push((Input::Series(files), scan_name::plain(&name)));
        }
        let images: BTreeSet<PathBuf> = images.into_values().collect();
        inputs.extend(images.into_iter().map(|path| {
            let name = scan_name::plain(&image_file::stem(&path));
            (Input::Image(path), name)
        }));
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        for (_, name) in &inputs {
            *count.entry(name.clone()).or_default() += 1;
        }
        let mut entries: Vec<Entry> = inputs
            .into_iter()
            .map(|(input, plain)| Entry { input, alone: count[&plain] == 1, plain })
            .collect();
        entries.extend(bad.into_iter().map(|(source, why)| Entry {
            plain: image_file::stem(&source),
            input: Input::Bad(source, why),
            alone: true,
        }));
        Self { entries }
    }

    /// The entries of a share, or all.
    pub fn share(self, shard: Option<Shard>) -> Vec<Entry> {
        let takes = |index: usize| shard.is_none_or(|shard| shard.takes(index));
        let taken = self.entries.into_iter().enumerate().filter(|(index, _)| takes(*index));
        taken.map(|(_, entry)| entry).collect()
    }
}

impl Entry {
    /// What messages call it before it has a name.
    pub fn label(&self) -> String {
        self.plain.clone()
    }

    /// The folder of a series, or the file.
    pub fn source(&self) -> String {
        match &self.input {
            Input::Series(files) => folder(files).display().to_string(),
            Input::Image(path) | Input::Bad(path, _) => path.display().to_string(),
        }
    }

    /// What tells the scan from all others, whatever it is called.
    ///
    /// # Errors
    /// If its file can't be read.
    pub fn identity(&self) -> Result<Identity> {
        match &self.input {
            Input::Series(files) => Ok(Identity::Series {
                series_uid: files.series_uid.clone(),
                files: files.files.len(),
            }),
            Input::Image(path) => {
                let mut hash = Sha256::new();
                // Of a header with its voxels in another file, both.
                for file in image_file::files(path)? {
                    File::open(&file)
                        .and_then(|mut bytes| std::io::copy(&mut bytes, &mut hash))
                        .with_context(|| file.display().to_string())?;
                }
                Ok(Identity::File { sha256: format!("{:x}", hash.finalize()) })
            }
            Input::Bad(_, why) => Err(anyhow!("{why}")),
        }
    }

    /// The scan's output folder in `out`, and what is known of what is in it: the one that it has
    /// already, or the shortest name that no other scan has. The name depends on the scans of the
    /// call and on what is in `out`, not on the order, so that shares of a call do not collide.
    pub fn place(&self, out: &Path, identity: &Identity) -> (String, Option<ScanNote>) {
        let qualified = match identity {
            Identity::Series { series_uid, .. } => {
                [scan_name::with_series(&self.plain, series_uid), scan_name::plain(series_uid)]
            }
            Identity::File { sha256 } => {
                [format!("{}_{}", self.plain, &sha256[..8]), sha256.clone()]
            }
        };
        let [long, longest] = qualified;
        let names = [self.plain.clone(), long, longest];
        let notes = names.map(|name| {
            let note = ScanNote::read(&out.join(&name)).ok();
            (name, note)
        });
        let is_mine = |note: &ScanNote| note.is_same_scan(identity);
        if let Some((name, note)) =
            notes.iter().find(|(_, note)| note.as_ref().is_some_and(is_mine))
        {
            return (name.clone(), note.clone());
        }
        let from = usize::from(!self.alone || self.plain.is_empty());
        let free = notes.iter().skip(from).find(|(_, note)| note.is_none());
        (free.unwrap_or(&notes[2]).0.clone(), None)
    }

    /// The scan itself, under a name.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn read(&self, name: String, identity: Identity) -> Result<Scan> {
        match &self.input {
            Input::Series(files) => Scan::of_series(name, identity, read_series(files)?),
            Input::Image(path) => Scan::of_file(name, identity, path),
            Input::Bad(_, why) => Err(anyhow!("{why}")),
        }
    }
}

/// An error's text without the place that is named anyway.
fn without(place: &Path, error: &anyhow::Error) -> String {
    let said = format!("{error:#}");
    said.strip_prefix(&format!("{}: ", place.display())).unwrap_or(&said).to_string()
}

fn folder(files: &SeriesFiles) -> PathBuf {
    files.files.first().and_then(|file| file.parent()).unwrap_or(Path::new("")).to_path_buf()
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}
