//! The oracle of a folder: asks by writing files, takes answers, refuses wrong ones.

use std::fs;
use std::path::{Path, PathBuf};

use dasl_learn::oracle::Question;
use dasl_learn::{Answer, Oracle, Request};
use dasl_net::Device;
use dasl_net::config::Config;
use dasl_net::infer::Segmenter;
use dasl_net::patch::sample_box;
use dasl_net::sample::predict_sample;
use dasl_volume::dataset::{Dataset, DatasetError};
use dasl_volume::nifti::{self, NiftiError};
use dasl_volume::{Geometry, LabelVolume, Volume, crop_padded, write_atomic};
use ndarray::Array3;

use super::answer::{AnswerFile, AnswerKind, Listing, list, read_mask};
use super::escape;
use super::question::QuestionFile;
use crate::annotation_store::{AnnotationError, AnnotationStore};
use crate::network_learner::{LearnerError, ROUND_WEIGHTS, sample};
use crate::split::Sample;

/// Why asking or taking answers failed.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// A file of the queue could not be read or written.
    #[error("{}: cannot be read or written", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// An image could not be written.
    #[error(transparent)]
    Image(#[from] NiftiError),
    /// An accepted answer could not be kept or read.
    #[error(transparent)]
    Store(#[from] AnnotationError),
    /// The dataset can't be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The sample or the network's present weights can't be had.
    #[error(transparent)]
    Learner(#[from] LearnerError),
}

fn file(path: &Path) -> impl FnOnce(std::io::Error) -> QueueError + '_ {
    move |source| QueueError::File { path: path.to_owned(), source }
}

/// The file that says why an answer to a sample was refused.
pub fn refused_name(sample: &str) -> String {
    format!("{}.refused.txt", escape(sample))
}

/// What the user should know of the last look at a queue's folder, for a reader who sees only that.
const NOTES: &str = "notes.txt";
/// Ends of the names of what the queue itself writes.
const OWN_ENDS: [&str; 4] = [".image.nii.gz", ".current.nii.gz", ".json", ".refused.txt"];

/// A person who annotates in a folder.
pub struct QueueOracle<'a> {
    dataset: &'a Dataset,
    config: Config,
    device: Device,
    folder: PathBuf,
    store: AnnotationStore,
    /// Weights that the run begins with, if this file is there.
    initial: PathBuf,
    /// What the user should know of the last look at the folder, a line each.
    pub notes: Vec<String>,
}

/// A sample's place: its file name, and the box that the reader sees.
struct Place {
    sample: Sample,
    file: String,
    start: [i64; 3],
    grid: Geometry,
}

impl<'a> QueueOracle<'a> {
    /// A reader who works in `folder`; what is taken goes to `store`. Weights in `initial`, if it
    /// is there, say what the network that the run begins with outlines.
    pub fn new(
        dataset: &'a Dataset,
        config: Config,
        device: Device,
        folder: PathBuf,
        store: AnnotationStore,
        initial: PathBuf,
    ) -> Self {
        Self { dataset, config, device, folder, store, initial, notes: Vec::new() }
    }

    fn place(&self, question: &Question) -> Result<Place, QueueError> {
        let sample = sample(&question.sample)?;
        let record = self.dataset.scan(&sample.scan)?;
        let (start, shape) = sample_box(&record, sample.label, self.config.train.patch);
        let grid = record.geometry.crop(start, shape);
        Ok(Place { sample, file: escape(question.sample.as_str()), start, grid })
    }

    /// Writes what is not there yet. The question's own file comes last: where it is as it should
    /// be, the images are too.
    fn ask(
        &self,
        request: &Request,
        question: &Question,
        segmenter: &mut Option<Segmenter>,
    ) -> Result<(), QueueError> {
        let place = self.place(question)?;
        // Before the initial training only a network that it begins with has something to say.
        let trained = request.round > 0 || self.initial.exists();
        let path = self.folder.join(format!("{}.json", place.file));
        let value = QuestionFile::new(request, question, &place.file, place.grid, trained);
        let text = serde_json::to_string_pretty(&value)
            .map_err(|error| QueueError::File { path: path.clone(), source: error.into() })?;
        let name = |what: &str| self.folder.join(format!("{}.{what}.nii.gz", place.file));
        let (image, current) = (name("image"), name("current"));
        let there = image.exists() && (current.exists() || !trained);
        if there && fs::read_to_string(&path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        let ct = self.dataset.read_ct(&place.sample.scan, place.start, place.grid.shape)?;
        nifti::write_ct(&image, &Volume::new(ct, place.grid))?;
        if current.exists() && (self.current_is_edited(&place.file) || !path.exists()) {
            // It may be a reader's work.
            let mut kept = (1..).map(|n| name(&format!("edited-{n}")));
            let kept = kept.find(|path| !path.exists()).expect("there is always a number more");
            fs::rename(&current, &kept).map_err(file(&current))?;
        }
        if trained {
            let segmenter = match segmenter {
                Some(segmenter) => segmenter,
                none => none.insert(self.present_network(request)?),
            };
            nifti::write_labels(&current, &self.present_mask(&place, segmenter)?)?;
        }
        write_atomic(&path, |out| out.write_all(text.as_bytes())).map_err(file(&path))
    }

    fn present_network(&self, request: &Request) -> Result<Segmenter, LearnerError> {
        let weights = match request.round {
            0 => self.initial.clone(),
            _ => request.weights.join(ROUND_WEIGHTS),
        };
        Ok(Segmenter::load(&weights, self.config.clone(), &self.device)?)
    }

    fn present_mask(
        &self,
        place: &Place,
        segmenter: &Segmenter,
    ) -> Result<LabelVolume, DatasetError> {
        let Sample { scan, label } = &place.sample;
        let own = predict_sample(segmenter, self.dataset, scan, *label)?.pseudo_label();
        let shape = place.grid.shape;
        let voxels = own.map_or_else(
            || Array3::zeros(shape),
            |own| {
                let start = [0, 1, 2].map(|axis| place.start[axis] - own.start[axis]);
                crop_padded(own.mask.view(), start, shape, 0)
            },
        );
        Ok(LabelVolume::new(voxels, place.grid))
    }

    /// Takes a sample's answer, or notes why not. Asked again, it answers from what was kept, unless
    /// the reader has thought better of it in between.
    fn take(
        &mut self,
        question: &Question,
        files: &[AnswerFile],
    ) -> Result<Option<Answer>, QueueError> {
        let id = question.sample.as_str();
        let place = self.place(question)?;
        match files {
            [] if self.store.has(id) || self.store.is_declined(id) => {}
            [] => {
                // An answer that was refused may have been taken back.
                remove(&self.folder.join(refused_name(id)))?;
                if self.current_is_edited(&place.file) {
                    let name = &place.file;
                    self.notes.push(format!(
                        "{name}.current.nii.gz was changed: if that is the answer, name it \
                         {name}.mask.nii.gz"
                    ));
                }
                return Ok(None);
            }
            [answer] => {
                let nothing = || LabelVolume::new(Array3::zeros(place.grid.shape), place.grid);
                let mask = match answer.kind {
                    AnswerKind::Mask => read_mask(&answer.path, &place.grid).map(Some),
                    AnswerKind::Empty => Ok(Some(nothing())),
                    AnswerKind::Declined => Ok(None),
                };
                match mask {
                    Ok(Some(mask)) => self.store.keep(id, &mask)?,
                    Ok(None) => self.store.decline(id)?,
                    Err(reason) => {
                        self.refuse(id, &answer.path, &reason)?;
                        return Ok(None);
                    }
                }
            }
            [first, ..] => {
                self.refuse(id, &first.path, "there are several answers: keep one")?;
                return Ok(None);
            }
        }
        let sample = question.sample.clone();
        let answer = if self.store.is_declined(id) {
            Answer::Declined { id: sample }
        } else {
            let foreground_voxels = self.store.foreground_voxels(id)?;
            Answer::Annotated { id: sample, foreground_voxels }
        };
        self.put_away(&place.file, files)?;
        Ok(Some(answer))
    }

    /// Whether a reader has saved over the network's mask, which lay there before the question's own
    /// file.
    fn current_is_edited(&self, name: &str) -> bool {
        let written = |what: &str| {
            let of = fs::metadata(self.folder.join(format!("{name}.{what}")));
            of.and_then(|of| of.modified()).ok()
        };
        let times = written("current.nii.gz").zip(written("json"));
        times.is_some_and(|(current, question)| current > question)
    }

    fn refuse(&mut self, id: &str, answer: &Path, reason: &str) -> Result<(), QueueError> {
        let name = answer.file_name().unwrap_or_default().to_string_lossy();
        // A reader's complaint may begin with the file's path: it is said already.
        let reason = reason.strip_prefix(&format!("{}: ", answer.display())).unwrap_or(reason);
        self.notes.push(format!("refused: {name}: {reason}"));
        let path = self.folder.join(refused_name(id));
        let text = format!("{name}: {reason}\n");
        write_atomic(&path, |out| out.write_all(text.as_bytes())).map_err(file(&path))
    }

    /// Moves all files of an answered sample to done/.
    fn put_away(&self, name: &str, answers: &[AnswerFile]) -> Result<(), QueueError> {
        let done = self.folder.join("done");
        fs::create_dir_all(&done).map_err(file(&done))?;
        let own = ["image.nii.gz", "current.nii.gz", "json"];
        let own = own.iter().map(|what| self.folder.join(format!("{name}.{what}")));
        for path in own.chain(answers.iter().map(|a| a.path.clone())) {
            let to = done.join(path.file_name().unwrap_or_default());
            match fs::rename(&path, &to) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(file(&path)(error));
                }
                _ => {}
            }
        }
        remove(&self.folder.join(format!("{name}.refused.txt")))
    }

    /// Notes the files that answer nothing: of samples that are not asked for, and those whose name
    /// begins as a question's and ends as no answer's.
    fn note_strays(&mut self, request: &Request, found: &Listing) {
        let is = |id: &str| request.questions.iter().any(|q| q.sample.as_str() == id);
        for stray in &found.answers {
            let name = stray.path.file_name().unwrap_or_default().to_string_lossy();
            match stray.sample.as_deref() {
                Some(id) if is(id) => {}
                Some(id) if self.store.has(id) || self.store.is_declined(id) => self
                    .notes
                    .push(format!("left alone: {name}: was answered already, and that holds")),
                _ => self.notes.push(format!("left alone: {name}: no such sample is asked for")),
            }
        }
        let begins: Vec<String> =
            request.questions.iter().map(|q| escape(q.sample.as_str())).collect();
        for name in &found.others {
            let own = OWN_ENDS.iter().any(|end| name.ends_with(end));
            if !own && begins.iter().any(|begin| name.starts_with(begin.as_str())) {
                self.notes.push(format!(
                    "left alone: {name}: an answer is named ID.mask.nii.gz (or another format's \
                     end), ID.empty or ID.declined"
                ));
            }
        }
    }

    /// Leaves the notes in the folder.
    fn write_notes(&self) -> Result<(), QueueError> {
        let path = self.folder.join(NOTES);
        if self.notes.is_empty() {
            return remove(&path);
        }
        let text = self.notes.join("\n") + "\n";
        write_atomic(&path, |out| out.write_all(text.as_bytes())).map_err(file(&path))
    }
}

/// Removes a file that may not be there.
fn remove(path: &Path) -> Result<(), QueueError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(file(path)(error)),
        _ => Ok(()),
    }
}

impl Oracle for QueueOracle<'_> {
    type Error = QueueError;

    fn name(&self) -> &'static str {
        "queue"
    }

    fn annotate(&mut self, request: &Request) -> Result<Vec<Answer>, QueueError> {
        self.notes.clear();
        fs::create_dir_all(&self.folder).map_err(file(&self.folder))?;
        let found = list(&self.folder).map_err(file(&self.folder))?;
        let (mut answers, mut segmenter) = (Vec::new(), None);
        for question in &request.questions {
            let id = question.sample.as_str();
            let own = found.answers.iter().filter(|f| f.sample.as_deref() == Some(id));
            let own: Vec<AnswerFile> = own.cloned().collect();
            match self.take(question, &own)? {
                Some(answer) => answers.push(answer),
                None => self.ask(request, question, &mut segmenter)?,
            }
        }
        self.note_strays(request, &found);
        self.write_notes()?;
        Ok(answers)
    }
}
