//! A run: initial training, then the rounds of the sequence, with the state on disk after every
//! step. Killed at any moment and resumed, it ends with the same ledger, state and scores as an
//! undisturbed run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::LearnConfig;
use crate::error::RunError;
use crate::learner::Learner;
use crate::ledger::{Ledger, LedgerMark};
use crate::observer::{Event, Observer};
use crate::oracle::Oracle;
use crate::pace::Pace;
use crate::run_folder::{self, RunFolder};
use crate::sample::{AnnotatedSample, SampleId};
use crate::sequence::RoundKind;
use crate::state::{FinishReason, Phase, RunState, VERSION};
use crate::step::Step;

/// How far a run got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is over.
    Finished(FinishReason),
    /// It waits for the oracle; advance it again when there are new annotations.
    Waiting {
        /// Samples that aren't annotated yet.
        pending: Vec<SampleId>,
    },
}

/// A run in its folder. One process at a time may hold it.
pub struct Run {
    folder: RunFolder,
    ledger: Ledger,
    state: RunState,
}

impl Run {
    /// Begins a run in a folder. `pool` are the samples without annotation, `annotated` those that
    /// were annotated before the run; the learner can read the labels of the latter.
    ///
    /// # Errors
    /// If a setting is out of range, there is no sample or one twice, the folder holds a run
    /// already or can't be written.
    pub fn create(
        folder: &Path,
        config: LearnConfig,
        mut pool: Vec<SampleId>,
        mut annotated: Vec<AnnotatedSample>,
    ) -> Result<Self, RunError> {
        config.check()?;
        pool.sort();
        annotated.sort();
        check_ids(&pool, &annotated)?;
        let folder = RunFolder::take(folder)?;
        if folder.has_state() {
            return Err(RunError::Exists { path: folder.path().to_owned() });
        }
        let state = RunState {
            version: VERSION,
            phase: Phase::Start,
            round: 0,
            kind: RoundKind::Initial,
            stage: 0,
            rounds_in_stage: 0,
            pace: Pace::new(config.lambda_0),
            spent: 0,
            weights: None,
            ledger: LedgerMark::default(),
            history: Vec::new(),
            annotated,
            declined: Vec::new(),
            pool,
            last_pseudo: BTreeMap::new(),
            config,
        };
        let ledger = Ledger::open(&folder.ledger_path(), state.ledger)?;
        folder.save_state(&state)?;
        Ok(Self { folder, ledger, state })
    }

    /// Resumes the run in a folder.
    ///
    /// # Errors
    /// If there is none, another process holds it, or a file of it is damaged.
    pub fn open(folder: &Path) -> Result<Self, RunError> {
        run_folder::read_state(folder)?;
        let folder = RunFolder::take(folder)?;
        // Only once the folder is held is its state sure not to change.
        let state = run_folder::read_state(folder.path())?;
        let ledger = Ledger::open(&folder.ledger_path(), state.ledger)?;
        Ok(Self { folder, ledger, state })
    }

    /// Reads where the run in a folder stands, also while another process holds it.
    ///
    /// # Errors
    /// If there is none or its state is damaged.
    pub fn read(folder: &Path) -> Result<RunState, RunError> {
        run_folder::read_state(folder)
    }

    /// Where it stands.
    pub fn state(&self) -> &RunState {
        &self.state
    }

    /// The ledger file, for [`crate::ledger::read_ledger`].
    pub fn ledger_path(&self) -> PathBuf {
        self.folder.ledger_path()
    }

    /// Goes on until the run is over or waits for the oracle.
    ///
    /// The learner is given the run's present weights first; at the beginning of a run its own
    /// are kept as the untrained ones.
    ///
    /// # Errors
    /// If the learner or the oracle fails or gives what can't be used, a file can't be written, or
    /// the observer breaks. The run can then be advanced again, in this process or another.
    pub fn advance<L: Learner, O: Oracle>(
        &mut self,
        learner: &mut L,
        oracle: &mut O,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, RunError> {
        // A failed advance may have left entries that the state on disk doesn't know, and a state
        // in memory that is ahead of it.
        self.state = run_folder::read_state(self.folder.path())?;
        self.ledger = Ledger::open(&self.folder.ledger_path(), self.state.ledger)?;
        let mut step = Step {
            folder: &self.folder,
            ledger: &mut self.ledger,
            state: &mut self.state,
            observer,
        };
        if let Some(weights) = step.state.weights.clone() {
            step.folder.load_weights(learner, &weights, step.state.round)?;
        }
        step.tell_round()?;
        loop {
            match step.state.phase.clone() {
                Phase::Start => step.start(learner)?,
                Phase::Predict => step.predict(learner)?,
                Phase::Annotate { plan } => {
                    if let Some(pending) = step.annotate(plan, learner, oracle)? {
                        return Ok(Outcome::Waiting { pending });
                    }
                }
                Phase::FineTune { plan } => step.fine_tune(plan, learner)?,
                Phase::Validate { plan, report } => {
                    step.validate(&plan, report, learner)?;
                }
                Phase::Finished { reason } => {
                    step.tell(&Event::Finished { reason })?;
                    return Ok(Outcome::Finished(reason));
                }
            }
        }
    }
}

fn check_ids(pool: &[SampleId], annotated: &[AnnotatedSample]) -> Result<(), RunError> {
    let mut ids: Vec<&SampleId> = pool.iter().chain(annotated.iter().map(|a| &a.id)).collect();
    if ids.is_empty() {
        return Err(RunError::NoSamples);
    }
    ids.sort();
    match ids.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(RunError::Duplicate { id: pair[0].clone() }),
        None => Ok(()),
    }
}
