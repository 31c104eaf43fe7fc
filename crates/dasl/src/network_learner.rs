//! Nodule R-CNN as a learner of the engine, and the simulated reader.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use dasl_learn::pseudo_label::{
    PseudoLabel, best_label, cross_entropy, multi_task_loss, own_mask_dice_loss,
};
use dasl_learn::sample::{AnnotatedSample, PseudoSample, SampleId};
use dasl_learn::{Audit, FineTuneReport, Learner, Prediction, Score, VisitMembers};
use dasl_net::Device;
use dasl_net::infer::Segmenter;
use dasl_net::instance::MASK_THRESHOLD;
use dasl_net::patch::{Known, TrainingSample, TrainingSet};
use dasl_net::sample::{SamplePrediction, compare, compare_given, mask_of_each, predict_sample};
use dasl_net::trainer::{TrainError, Trainer};
use dasl_net::weights::Named;
use dasl_volume::dataset::{Dataset, DatasetError};
use indicatif::ProgressBar;

use crate::annotation_store::{AnnotationError, AnnotationStore};
use crate::command::train::validate;
use crate::config_file::{Descriptor, LoopConfig, PseudoClass, Settings, Uncertainty};
use crate::split::{Sample, Split};

mod sums;

use sums::Sums;

/// Weights in a round's folder.
pub const ROUND_WEIGHTS: &str = "checkpoint.safetensors";

/// Why learning failed.
#[derive(Debug, thiserror::Error)]
pub enum LearnerError {
    /// Training failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The dataset can't be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The weights can't be read or written.
    #[error(transparent)]
    Weights(#[from] dasl_net::weights::WeightsError),
    /// A reader's answer can't be read.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// A checkpoint can't be removed.
    #[error("{}: cannot be removed", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A sample is not the dataset's.
    #[error("{0} names no nodule of the dataset: the run belongs to another one")]
    Unknown(SampleId),
}

/// The initial training of a run, as another can take it over.
#[derive(Debug, Clone, PartialEq)]
pub struct Begun {
    /// How it went.
    pub report: FineTuneReport,
    /// The round's folder of weights.
    pub weights: PathBuf,
}

/// The network in the learning loop.
pub struct NetworkLearner<'a> {
    dataset: &'a Dataset,
    settings: Settings,
    split: &'a Split,
    /// Those of its samples that nobody has outlined.
    candidates: BTreeSet<SampleId>,
    seed: u64,
    device: Device,
    trainer: Trainer,
    /// The weights that training begins with; `None` for fresh ones.
    start: Option<Named>,
    /// The initial training, where a run that begins alike has done it.
    pub begun: Option<Begun>,
    /// Where a round's training lies between its steps, so that a killed one goes on; `None` repeats it.
    pub checkpoint: Option<PathBuf>,
    /// The weights that were loaded last.
    loaded: Option<PathBuf>,
    /// What a reader answers in this run; `None` where the dataset's labels are revealed.
    pub annotations: Option<AnnotationStore>,
    /// Shows the steps of a fine-tuning.
    pub progress: ProgressBar,
}

impl<'a> NetworkLearner<'a> {
    /// An untrained network.
    pub fn new(
        dataset: &'a Dataset,
        settings: Settings,
        split: &'a Split,
        seed: u64,
        device: Device,
    ) -> Self {
        let trainer = Trainer::new(settings.network(), seed, &device);
        let progress = ProgressBar::hidden();
        let (start, begun, checkpoint, loaded, annotations) = (None, None, None, None, None);
        Self {
            dataset,
            settings,
            split,
            candidates: split.candidates.iter().map(|s| s.name().into()).collect(),
            seed,
            device,
            trainer,
            start,
            begun,
            checkpoint,
            loaded,
            annotations,
            progress,
        }
    }

    /// Begins with these weights in place of fresh ones.
    ///
    /// # Errors
    /// If they belong to another network.
    pub fn begin_with(&mut self, weights: Named) -> Result<(), LearnerError> {
        self.trainer.start_from(Some(&weights))?;
        self.start = Some(weights);
        Ok(())
    }

    /// The network as it is, for use.
    pub fn segmenter(&self) -> Segmenter {
        Segmenter::new(self.trainer.model(), self.settings.network(), &self.device)
    }

    /// The network as it labels what nobody annotated.
    fn pseudo_labeller(&self) -> Segmenter {
        self.segmenter().with_flips(self.settings.learn.pseudo_flips)
    }

    fn predict_one(
        &self,
        segmenter: &Segmenter,
        id: &SampleId,
    ) -> Result<SamplePrediction, LearnerError> {
        let Sample { scan, label } = sample(id)?;
        Ok(predict_sample(segmenter, self.dataset, &scan, label)?)
    }

    /// How the class of a sample's pseudo-label is found: that a candidate is a nodule is nobody's
    /// word.
    fn class_of(&self, id: &SampleId) -> PseudoClass {
        if self.candidates.contains(id) {
            PseudoClass::Own
        } else {
            self.settings.learn.pseudo_class
        }
    }

    /// The label of an annotated sample.
    fn known(&self, id: &SampleId) -> Result<Known, LearnerError> {
        let Some(store) = &self.annotations else { return Ok(Known::Dataset) };
        let Sample { scan, label } = sample(id)?;
        let record = self.dataset.scan(&scan)?;
        Ok(store.known(id.as_str(), &record, label, self.settings.train.patch)?)
    }

    /// One model per resample, fine-tuned from the present weights.
    fn committee(
        &mut self,
        resamples: &[Vec<AnnotatedSample>],
        round: usize,
    ) -> Result<Vec<Segmenter>, LearnerError> {
        let (present, seed) = (self.loaded.clone(), self.seed);
        // It is the round's own training that goes on.
        let checkpoint = self.checkpoint.take();
        let mut members = Vec::with_capacity(resamples.len());
        for (member, resample) in resamples.iter().enumerate() {
            if let Some(weights) = &present {
                self.load(weights)?;
            }
            if !resample.is_empty() {
                self.seed = seed.wrapping_add((member as u64 + 1) << 40);
                let tuned = self.fine_tune(resample, &[], round, false);
                self.seed = seed;
                tuned?;
            }
            members.push(self.segmenter());
        }
        self.checkpoint = checkpoint;
        Ok(members)
    }

    /// Takes up the training of a round where another process left it; what its steps amounted to.
    fn go_on(&mut self, round: usize, training: &str) -> Result<Sums, LearnerError> {
        let Some(path) = self.checkpoint.as_ref().filter(|path| path.exists()) else {
            return Ok(Sums::default());
        };
        let (named, about) = dasl_net::weights::load(path)?;
        let Some(sums) = Sums::of(&about, training) else { return Ok(Sums::default()) };
        self.trainer.take(named, &about)?;
        let done = self.trainer.steps_done();
        self.progress
            .suspend(|| eprintln!("round {round}: its training goes on after step {done}"));
        Ok(sums)
    }

    /// Annotated samples with their own label, the others with the one that the weights at entry
    /// give them; a nodule whose mask is empty has none and is left out.
    fn training_set(
        &self,
        annotated: &[AnnotatedSample],
        pseudo: &[PseudoSample],
    ) -> Result<TrainingSet, LearnerError> {
        let mut set = TrainingSet {
            samples: Vec::new(),
            background: self.split.background.clone(),
            annotated_share: self.settings.learn.annotated_share,
        };
        for a in annotated {
            let Sample { scan, label } = sample(&a.id)?;
            let known = self.known(&a.id)?;
            set.samples.push(TrainingSample { scan, label, weight: 1.0, known });
        }
        let segmenter = self.pseudo_labeller();
        for p in pseudo {
            let Sample { scan, label } = sample(p.id())?;
            let own = self.predict_one(&segmenter, p.id())?;
            let known = if own_class(&own, self.class_of(p.id())).positive {
                own.pseudo_label().map(Known::Pseudo)
            } else {
                Some(Known::NoNodule)
            };
            if let Some(known) = known {
                set.samples.push(TrainingSample { scan, label, weight: p.weight(), known });
            }
        }
        Ok(set)
    }
}

/// The sample of an id.
///
/// # Errors
/// If it is none.
pub fn sample(id: &SampleId) -> Result<Sample, LearnerError> {
    Sample::parse(id.as_str()).ok_or_else(|| LearnerError::Unknown(id.clone()))
}

/// The class of a sample's pseudo-label and what it costs.
fn own_class(own: &SamplePrediction, class: PseudoClass) -> PseudoLabel {
    let (negative, positive) = cross_entropy(own.proposal.score);
    match class {
        PseudoClass::Given => PseudoLabel { positive: true, loss: positive },
        PseudoClass::Own => best_label(negative, positive),
    }
}

/// Judges a pseudo-label by the truth: voxels of the network's mask and of the nodule, and those that
/// they share. One that says that there is no nodule has none of the mask's.
fn audited(label: PseudoLabel, (shared, own, truth): (u64, u64, u64)) -> Audit {
    let (shared, own) = if label.positive { (shared, own) } else { (0, 0) };
    let precision = (own > 0).then(|| shared as f64 / own as f64);
    Audit { dice: dasl_metrics::dice(shared, own, truth), precision }
}

/// What the engine wants to know of a prediction.
fn judged(own: SamplePrediction, learn: &LoopConfig, class: PseudoClass) -> Prediction {
    let class = own_class(&own, class);
    let probabilities: Vec<f32> = own.probability.iter().copied().collect();
    let dice = own_mask_dice_loss(&probabilities, MASK_THRESHOLD);
    // A nodule without a mask is as wrong as a mask can be; background has no mask to be wrong.
    let mask = class.positive.then(|| dice.unwrap_or(0.0));
    Prediction {
        loss: multi_task_loss(class.loss, mask),
        foreground: own.proposal.score >= 0.5 && dice.is_some(),
        probabilities: match learn.uncertainty {
            Uncertainty::Volume => probabilities.clone(),
            Uncertainty::Border => own.border(),
        },
        descriptor: match learn.descriptor {
            Descriptor::Output => probabilities,
            Descriptor::Encoder => own.encoding,
        },
    }
}

impl Learner for NetworkLearner<'_> {
    type Error = LearnerError;

    fn predict(
        &mut self,
        pool: &[SampleId],
        visit: &mut dyn FnMut(usize, Prediction) -> ControlFlow<()>,
    ) -> Result<(), LearnerError> {
        let segmenter = self.segmenter();
        for (i, id) in pool.iter().enumerate() {
            let own = self.predict_one(&segmenter, id)?;
            if visit(i, judged(own, &self.settings.learn, self.class_of(id))).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn predict_committee(
        &mut self,
        resamples: &[Vec<AnnotatedSample>],
        pool: &[SampleId],
        round: usize,
        visit: VisitMembers<'_>,
    ) -> Result<(), LearnerError> {
        let present = self.segmenter();
        let members = self.committee(resamples, round)?;
        for (i, id) in pool.iter().enumerate() {
            let Sample { scan, label } = sample(id)?;
            let masks = mask_of_each(&present, &members, self.dataset, &scan, label)?;
            let flat: Vec<Vec<f32>> = masks.into_iter().map(|m| m.into_iter().collect()).collect();
            if visit(i, &flat).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn fine_tune(
        &mut self,
        annotated: &[AnnotatedSample],
        pseudo: &[PseudoSample],
        round: usize,
        anew: bool,
    ) -> Result<FineTuneReport, LearnerError> {
        if round == 0
            && let Some(Begun { report, weights }) = self.begun.take()
        {
            self.load(&weights)?;
            return Ok(report);
        }
        let set = self.training_set(annotated, pseudo)?;
        let learn = &self.settings.learn;
        let (steps, rate) = match (round, anew) {
            (0, _) => (learn.initial_steps, 1.0),
            (_, true) => (self.settings.train.steps, 1.0),
            (_, false) => (learn.round_steps, learn.round_rate),
        };
        if anew {
            self.trainer.start_from(self.start.as_ref())?;
        }
        let seed = self.seed.wrapping_add(round as u64 * 1_000_003);
        self.trainer.restart(steps, rate * self.settings.train.learning_rate, seed);
        self.progress.set_length(steps as u64);
        self.progress.reset();
        // With other settings it would be another training.
        let training = format!("round {round}, {steps} steps, {:?}", self.settings.train);
        let mut sums = self.go_on(round, &training)?;
        self.progress.set_position(self.trainer.steps_done() as u64);
        while self.trainer.steps_done() < steps {
            let step = self.trainer.train_step(self.dataset, &set)?;
            self.progress.inc(1);
            self.progress.set_message(format!("loss {:.3}", step.total));
            sums.add(&step);
            let done = self.trainer.steps_done();
            if let Some(path) = &self.checkpoint
                && done < steps
                && done.is_multiple_of(self.settings.train.checkpoint_every)
            {
                self.trainer.save_with(path, sums.about(&training))?;
            }
        }
        Ok(sums.report())
    }

    fn validate(&mut self) -> Result<Score, LearnerError> {
        // The round's weights are kept.
        if let Some(path) = self.checkpoint.as_ref().filter(|path| path.exists()) {
            std::fs::remove_file(path)
                .map_err(|source| LearnerError::Checkpoint { path: path.clone(), source })?;
        }
        let scores =
            validate(&self.segmenter(), self.dataset, &self.split.validation, &mut |_, _| {})?;
        let mut figures = BTreeMap::new();
        for (name, value) in [
            ("dice", scores.dice),
            ("tp_dice", scores.tp_dice),
            ("hit_rate", scores.hit_rate),
            ("mask_dice", scores.mask_dice),
        ] {
            if let Some(value) = value {
                figures.insert(name.to_string(), value);
            }
        }
        Ok(Score { value: scores.dice.unwrap_or(0.0), figures })
    }

    fn audit(&mut self, samples: &[SampleId]) -> Result<Vec<Audit>, LearnerError> {
        let segmenter = self.pseudo_labeller();
        samples
            .iter()
            .map(|id| {
                let Sample { scan, label } = sample(id)?;
                let own = predict_sample(&segmenter, self.dataset, &scan, label)?;
                let voxels = match self.known(id)? {
                    Known::Given(given) => compare_given(&own, &given),
                    Known::NoNodule => (0, own.voxels(), 0),
                    Known::Dataset | Known::Pseudo(_) => compare(&own, self.dataset, &scan, label)?,
                };
                Ok(audited(own_class(&own, self.class_of(id)), voxels))
            })
            .collect()
    }

    fn save(&self, folder: &Path) -> Result<(), LearnerError> {
        Ok(self.trainer.save(&folder.join(ROUND_WEIGHTS))?)
    }

    fn load(&mut self, folder: &Path) -> Result<(), LearnerError> {
        self.trainer.load(&folder.join(ROUND_WEIGHTS))?;
        self.loaded = Some(folder.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudo_label_is_judged_by_its_class_too() {
        let label = |positive| PseudoLabel { positive, loss: 0.0 };
        let of = |positive, voxels| {
            let Audit { dice, precision } = audited(label(positive), voxels);
            (dice, precision)
        };
        assert_eq!(of(true, (10, 20, 20)), (0.5, Some(0.5)));
        // That there is no nodule is right where there is none, whatever a mask would mark.
        assert_eq!(of(false, (0, 20, 0)), (1.0, None));
        assert_eq!(of(false, (10, 20, 20)), (0.0, None));
        assert_eq!(of(true, (0, 20, 0)), (0.0, Some(0.0)));
    }
}
