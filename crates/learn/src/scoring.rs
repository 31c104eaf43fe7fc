//! One look at the pool: what the learner thinks of each sample, kept as a few numbers.

use std::ops::ControlFlow;
use std::path::Path;

use crate::descriptor::Descriptors;
use crate::error::RunError;
use crate::learner::{Learner, Prediction};
use crate::observer::{Event, Observer};
use crate::sample::{AnnotatedSample, SampleId, SampleScore};
use crate::uncertainty::{disagreement, entropy, least_confidence};

/// What to compute and where.
pub(crate) struct Scoring<'a> {
    pub(crate) round: usize,
    pub(crate) descriptors: bool,
    pub(crate) density: bool,
    pub(crate) memory_bytes: u64,
    pub(crate) scratch_folder: &'a Path,
}

impl Scoring<'_> {
    /// Asks the learner for every sample once; the scores are in the order of `pool`, and so are
    /// the descriptors, if they are asked for.
    pub(crate) fn score<L: Learner>(
        &self,
        learner: &mut L,
        pool: &[SampleId],
        observer: &mut dyn Observer,
    ) -> Result<(Vec<SampleScore>, Option<Descriptors>), RunError> {
        let mut gathered = Gathered {
            scoring: self,
            pool,
            scores: vec![None; pool.len()],
            done: 0,
            descriptors: None,
        };
        let mut failure = None;
        let predicted = learner.predict(pool, &mut |index, prediction| {
            let result = gathered.take(index, &prediction).and_then(|()| {
                let event = Event::Predicted { done: gathered.done, of: pool.len() };
                stop_on_break(observer.event(&event))
            });
            match result {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        if let Some(error) = failure {
            return Err(error);
        }
        predicted.map_err(RunError::learner(self.round, "predict"))?;
        gathered.finish()
    }

    /// Asks a committee for every sample once; how much it differs, in the order of `pool`.
    pub(crate) fn disagreements<L: Learner>(
        &self,
        learner: &mut L,
        resamples: &[Vec<AnnotatedSample>],
        pool: &[SampleId],
        observer: &mut dyn Observer,
    ) -> Result<Vec<f64>, RunError> {
        let mut found = vec![None; pool.len()];
        let (mut done, mut failure) = (0, None);
        let mut take = |index: usize, members: &[Vec<f32>]| {
            let of = |problem| {
                let id = pool.get(index).map_or("outside the pool", SampleId::as_str);
                Err(self.bad(format!("committee's view of sample {id}"), problem))
            };
            let voxels = members.first().map_or(0, Vec::len);
            if found.get(index) != Some(&None) {
                return of("came twice or is of no sample");
            }
            if members.len() != resamples.len() || members.iter().any(|m| m.len() != voxels) {
                return of("is not one volume of the same size from every member");
            }
            if !members.iter().flatten().all(|p| (0.0..=1.0).contains(p)) {
                return of("is not all in 0 to 1");
            }
            found[index] = Some(disagreement(members));
            done += 1;
            stop_on_break(observer.event(&Event::Predicted { done, of: pool.len() }))
        };
        let predicted = learner.predict_committee(
            resamples,
            pool,
            self.round,
            &mut |index, members| match take(index, members) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            },
        );
        if let Some(error) = failure {
            return Err(error);
        }
        predicted.map_err(RunError::learner(self.round, "train a committee"))?;
        let missing =
            |id: &SampleId| self.bad(format!("committee's view of sample {id}"), "did not come");
        pool.iter().zip(found).map(|(id, found)| found.ok_or_else(|| missing(id))).collect()
    }

    fn bad(&self, what: String, problem: &'static str) -> RunError {
        RunError::LearnerResult { round: self.round, what, problem }
    }
}

/// Turns an observer's wish to stop into an error.
pub(crate) fn stop_on_break(flow: ControlFlow<()>) -> Result<(), RunError> {
    if flow.is_break() { Err(RunError::Stopped) } else { Ok(()) }
}

struct Gathered<'a> {
    scoring: &'a Scoring<'a>,
    pool: &'a [SampleId],
    scores: Vec<Option<SampleScore>>,
    done: usize,
    descriptors: Option<Descriptors>,
}

impl Gathered<'_> {
    fn take(&mut self, index: usize, prediction: &Prediction) -> Result<(), RunError> {
        let scoring = self.scoring;
        let Some(id) = self.pool.get(index) else {
            let what = format!("prediction {index}");
            return Err(scoring.bad(what, "is of no sample of the pool"));
        };
        let of = |what: &str| format!("{what} of sample {id}");
        if self.scores[index].is_some() {
            return Err(scoring.bad(of("prediction"), "came twice"));
        }
        if !prediction.probabilities.iter().all(|p| (0.0..=1.0).contains(p)) {
            return Err(scoring.bad(of("probabilities"), "are not all in 0 to 1"));
        }
        if !(prediction.loss.is_finite() && prediction.loss >= 0.0) {
            return Err(scoring.bad(of("loss"), "is not a number from 0 on"));
        }
        if scoring.descriptors {
            if prediction.descriptor.is_empty() {
                return Err(scoring.bad(of("descriptor"), "is empty, but the strategy needs it"));
            }
            if !prediction.descriptor.iter().all(|x| x.is_finite()) {
                return Err(scoring.bad(of("descriptor"), "is not all finite"));
            }
            self.keep_descriptor(index, &prediction.descriptor)?;
        }
        self.scores[index] = Some(SampleScore {
            id: id.clone(),
            uncertainty: least_confidence(&prediction.probabilities),
            entropy: entropy(&prediction.probabilities),
            density: None,
            variance: None,
            loss: prediction.loss,
            foreground: prediction.foreground,
        });
        self.done += 1;
        Ok(())
    }

    fn keep_descriptor(&mut self, index: usize, descriptor: &[f32]) -> Result<(), RunError> {
        let scoring = self.scoring;
        let io = RunError::io(scoring.scratch_folder);
        let store = match &mut self.descriptors {
            Some(store) => store,
            none => {
                let (count, length) = (self.pool.len(), descriptor.len());
                match Descriptors::new(count, length, scoring.memory_bytes, scoring.scratch_folder)
                {
                    Ok(store) => none.insert(store),
                    Err(error) => return Err(io(error)),
                }
            }
        };
        if store.length() != descriptor.len() {
            let what = format!("descriptor of sample {}", self.pool[index]);
            return Err(scoring.bad(what, "is not as long as the others"));
        }
        store.put(index, descriptor).map_err(io)
    }

    fn finish(mut self) -> Result<(Vec<SampleScore>, Option<Descriptors>), RunError> {
        let mut scores = Vec::with_capacity(self.pool.len());
        for (id, score) in self.pool.iter().zip(self.scores) {
            let missing = || self.scoring.bad(format!("prediction of sample {id}"), "did not come");
            scores.push(score.ok_or_else(missing)?);
        }
        if let Some(descriptors) = self.descriptors.as_mut().filter(|_| self.scoring.density) {
            let densities =
                descriptors.densities().map_err(RunError::io(self.scoring.scratch_folder))?;
            for (score, density) in scores.iter_mut().zip(densities) {
                score.density = Some(density);
            }
        }
        Ok((scores, self.descriptors))
    }
}
