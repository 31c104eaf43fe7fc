//! `RUN/annotations`: what readers answered in a run, a label map per sample. These are trained on
//! in place of the dataset's labels.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use dasl_net::patch::{Known, PlacedMask, sample_box};
use dasl_volume::LabelVolume;
use dasl_volume::dataset::ScanRecord;
use dasl_volume::nifti::{self, NiftiError};
use ndarray::s;

use crate::queue::escape;

/// Why an annotation could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum AnnotationError {
    /// The folder can't be made or written to.
    #[error("{}: cannot be written to", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file can't be read or written.
    #[error(transparent)]
    Image(#[from] NiftiError),
    /// It is not of the sample's box.
    #[error("{}: is not on the sample's grid; restore the run folder from a copy", .0.display())]
    Shape(PathBuf),
}

/// The answers of a run.
#[derive(Debug, Clone)]
pub struct AnnotationStore {
    folder: PathBuf,
}

impl AnnotationStore {
    /// The answers in a folder, which need not be there yet.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{}.nii.gz", escape(id)))
    }

    fn declined_path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{}.declined", escape(id)))
    }

    /// Whether a sample is annotated.
    pub fn has(&self, id: &str) -> bool {
        self.path(id).exists()
    }

    /// Whether a reader could not judge a sample.
    pub fn is_declined(&self, id: &str) -> bool {
        self.declined_path(id).exists()
    }

    /// Keeps an annotation, whole or not at all; all 0 says that there is no nodule.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn keep(&self, id: &str, mask: &LabelVolume) -> Result<(), AnnotationError> {
        self.make_folder()?;
        nifti::write_labels(&self.path(id), mask)?;
        self.remove(&self.declined_path(id))
    }

    /// Keeps the answer about a sample that another run has.
    ///
    /// # Errors
    /// If it can't be read or written.
    pub fn take_over(&self, other: &Self, id: &str) -> Result<(), AnnotationError> {
        if other.is_declined(id) {
            return self.decline(id);
        }
        self.keep(id, &nifti::read_labels(&other.path(id))?)
    }

    /// Keeps that a reader could not judge a sample.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn decline(&self, id: &str) -> Result<(), AnnotationError> {
        self.make_folder()?;
        fs::write(self.declined_path(id), "").map_err(|source| self.failed(source))?;
        self.remove(&self.path(id))
    }

    fn make_folder(&self) -> Result<(), AnnotationError> {
        fs::create_dir_all(&self.folder).map_err(|source| self.failed(source))
    }

    /// Takes back an answer that another one has replaced.
    fn remove(&self, path: &Path) -> Result<(), AnnotationError> {
        match fs::remove_file(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(self.failed(source)),
            _ => Ok(()),
        }
    }

    fn failed(&self, source: io::Error) -> AnnotationError {
        AnnotationError::Folder { path: self.folder.clone(), source }
    }

    /// Voxels of a sample that are marked.
    ///
    /// # Errors
    /// If the answer can't be read.
    pub fn foreground_voxels(&self, id: &str) -> Result<u64, AnnotationError> {
        let mask = nifti::read_labels(&self.path(id))?;
        Ok(mask.voxels.iter().filter(|&&label| label != 0).count() as u64)
    }

    /// The label of the sample `label` of a scan, as the training takes it.
    ///
    /// # Errors
    /// If the answer can't be read or is not of that place.
    pub fn known(
        &self,
        id: &str,
        record: &ScanRecord,
        label: u16,
        patch: usize,
    ) -> Result<Known, AnnotationError> {
        let path = self.path(id);
        let mask = nifti::read_labels(&path)?.voxels;
        let (start, shape) = sample_box(record, label, patch);
        if mask.shape() != shape {
            return Err(AnnotationError::Shape(path));
        }
        let (mut low, mut high) = (shape, [0; 3]);
        for ((z, y, x), _) in mask.indexed_iter().filter(|(_, label)| **label != 0) {
            for (axis, at) in [z, y, x].into_iter().enumerate() {
                low[axis] = low[axis].min(at);
                high[axis] = high[axis].max(at + 1);
            }
        }
        if high == [0; 3] {
            return Ok(Known::NoNodule);
        }
        let inner = s![low[0]..high[0], low[1]..high[1], low[2]..high[2]];
        let start = [0, 1, 2].map(|axis| start[axis] + low[axis] as i64);
        Ok(Known::Given(PlacedMask { start, mask: mask.slice(inner).to_owned() }))
    }
}
