//! What is trained.

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::sample::{AnnotatedSample, PseudoSample, SampleId};

/// What a learner thinks of one sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Foreground probability of every voxel, in [0, 1], for Eq. (2).
    pub probabilities: Vec<f32>,
    /// `P_d` of Eq. (3): the output volume itself (paper) or an encoder descriptor; of one length
    /// for all samples. May be empty if the strategy needs no density.
    pub descriptor: Vec<f32>,
    /// `l_i` >= 0: the loss under the learner's own best pseudo-label (see
    /// [`crate::pseudo_label`]).
    pub loss: f64,
    /// Whether the learner sees any foreground.
    pub foreground: bool,
}

/// How a fine-tuning went.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FineTuneReport {
    /// eta of Eq. (9): the average accuracy over it, in [0, 1].
    pub mean_accuracy: f64,
    /// Mean training loss over it.
    pub mean_loss: f64,
}

/// A validation score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The figure to be improved; larger is better.
    pub value: f64,
    /// Further figures by name.
    pub figures: BTreeMap<String, f64>,
}

/// How good a pseudo-label was, now that the sample is annotated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// Dice of the pseudo-label with the annotation; 1 if both are empty.
    pub dice: f64,
    /// Part of the pseudo-label's foreground that is foreground in the annotation; `None` if it
    /// has none.
    pub precision: Option<f64>,
}

/// Takes a sample's place in the pool and, per member of a committee, the foreground probability of
/// every voxel; breaks to stop.
pub type VisitMembers<'a> = &'a mut dyn FnMut(usize, &[Vec<f32>]) -> ControlFlow<()>;

/// A model that can be trained a little further at a time.
///
/// A run repeats itself bit for bit only if each method's result depends on nothing but the
/// weights, its arguments and the learner's own settings: a learner that draws random numbers
/// seeds them from its seed and `round`, and [`save`](Self::save) keeps everything the next
/// fine-tuning starts from (also an optimiser's moments, if they are carried on). The engine loads
/// what it saved after every fine-tuning, so an undisturbed run and a resumed one go on from the
/// same bytes.
pub trait Learner {
    /// Why something failed.
    type Error: Error + Send + Sync + 'static;

    /// Predicts every sample of the pool once and hands each prediction to `visit` with the
    /// sample's place in `pool`, in any order, then forgets it; stops if `visit` breaks.
    ///
    /// # Errors
    /// If a sample can't be read or predicted.
    fn predict(
        &mut self,
        pool: &[SampleId],
        visit: &mut dyn FnMut(usize, Prediction) -> ControlFlow<()>,
    ) -> Result<(), Self::Error>;

    /// Trains a committee, one model on each of `resamples` (drawn with replacement from the
    /// annotated samples), each from the weights at entry, and hands to `visit` what the members
    /// think of every sample of the pool: its place in `pool` and, per member, the foreground
    /// probability of every voxel, the same voxels for all members. Stops if `visit` breaks. The
    /// engine loads the present weights again afterwards.
    ///
    /// # Errors
    /// If a sample can't be read or predicted, or a training diverges.
    fn predict_committee(
        &mut self,
        resamples: &[Vec<AnnotatedSample>],
        pool: &[SampleId],
        round: usize,
        visit: VisitMembers<'_>,
    ) -> Result<(), Self::Error>;

    /// Fine-tunes on annotated samples with weight 1 and on pseudo-labelled ones with their
    /// weight. The pseudo-labels are those that the weights at entry give, the ones whose losses
    /// [`predict`](Self::predict) reported; they are not updated on the way. With `anew`, as in
    /// the initial training (`round` 0), it is a whole training from the weights that the run
    /// began with.
    ///
    /// # Errors
    /// If a sample can't be read or the training diverges.
    fn fine_tune(
        &mut self,
        annotated: &[AnnotatedSample],
        pseudo: &[PseudoSample],
        round: usize,
        anew: bool,
    ) -> Result<FineTuneReport, Self::Error>;

    /// Scores the weights on the learner's validation set.
    ///
    /// # Errors
    /// If the validation set can't be read.
    fn validate(&mut self) -> Result<Score, Self::Error>;

    /// Compares the pseudo-labels that the present weights give to samples with their annotations,
    /// which the oracle has given by now; one audit per sample, in order.
    ///
    /// # Errors
    /// If a sample or its annotation can't be read.
    fn audit(&mut self, samples: &[SampleId]) -> Result<Vec<Audit>, Self::Error>;

    /// Writes the weights into an empty folder.
    ///
    /// # Errors
    /// If they can't be written.
    fn save(&self, folder: &Path) -> Result<(), Self::Error>;

    /// Replaces the whole state of the learner by what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// If they can't be read.
    fn load(&mut self, folder: &Path) -> Result<(), Self::Error>;
}
