//! What the engine makes of predictions that cannot be used.

#[expect(dead_code, reason = "the learner that works is not needed here")]
mod toy;

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use dasl_learn::{
    AnnotatedSample, Audit, FineTuneReport, LearnConfig, Learner, Prediction, PseudoSample, Run,
    SampleId, Score, VisitMembers,
};
use toy::{Labels, World};

/// A learner whose predictions are wrong in one way.
struct Broken(fn(usize) -> Option<(usize, Prediction)>);

impl Learner for Broken {
    type Error = io::Error;

    fn predict(
        &mut self,
        pool: &[SampleId],
        visit: &mut dyn FnMut(usize, Prediction) -> ControlFlow<()>,
    ) -> io::Result<()> {
        let mut predictions = (0..pool.len()).filter_map(self.0);
        let _ = predictions.try_for_each(|(i, prediction)| visit(i, prediction));
        Ok(())
    }

    fn predict_committee(
        &mut self,
        _: &[Vec<AnnotatedSample>],
        _: &[SampleId],
        _: usize,
        _: VisitMembers<'_>,
    ) -> io::Result<()> {
        Ok(())
    }

    fn fine_tune(
        &mut self,
        _: &[AnnotatedSample],
        _: &[PseudoSample],
        _: usize,
        _: bool,
    ) -> io::Result<FineTuneReport> {
        Ok(FineTuneReport { mean_accuracy: 1.0, mean_loss: 0.0 })
    }

    fn validate(&mut self) -> io::Result<Score> {
        Ok(Score { value: 1.0, figures: BTreeMap::new() })
    }

    fn audit(&mut self, _: &[SampleId]) -> io::Result<Vec<Audit>> {
        Ok(Vec::new())
    }

    fn save(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn load(&mut self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

fn sound() -> Prediction {
    Prediction { probabilities: vec![0.5], descriptor: vec![1.0], loss: 0.1, foreground: false }
}

fn run_in(folder: &Path) -> Run {
    let config = LearnConfig {
        initial: 4,
        per_round: 4,
        sequence: "al".parse().expect("a sequence"),
        ..LearnConfig::default()
    };
    Run::create(folder, config, World::new(9).ids(), Vec::new()).expect("a run")
}

#[test]
fn predictions_that_cannot_be_used_are_named() {
    type Wrong = (fn(usize) -> Option<(usize, Prediction)>, &'static str);
    let wrong: [Wrong; 8] = [
        (|i| (i != 1).then(|| (i, sound())), "prediction of sample p"),
        (|_| Some((0, sound())), "came twice"),
        (|i| Some((i + 100, sound())), "is of no sample of the pool"),
        (
            |i| Some((i, Prediction { probabilities: vec![1.5], ..sound() })),
            "are not all in 0 to 1",
        ),
        (|i| Some((i, Prediction { loss: f64::NAN, ..sound() })), "is not a number from 0 on"),
        (|i| Some((i, Prediction { descriptor: vec![], ..sound() })), "is empty"),
        (|i| Some((i, Prediction { descriptor: vec![f32::NAN], ..sound() })), "is not all finite"),
        (|i| Some((i, Prediction { descriptor: vec![1.0; i + 1], ..sound() })), "as long as"),
    ];
    for (predict, problem) in wrong {
        let folder = tempfile::tempdir().expect("a folder");
        let mut run = run_in(folder.path());
        let error = run
            .advance(&mut Broken(predict), &mut Labels::default(), &mut ())
            .expect_err("a prediction that can't be used");
        assert!(error.to_string().contains(problem), "{error}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut run = run_in(folder.path());
    let outcome = run.advance(&mut Broken(|i| Some((i, sound()))), &mut Labels::default(), &mut ());
    assert!(outcome.is_ok());
}
