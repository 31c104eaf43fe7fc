//! Which round's weights a run ends with.

mod toy;

use dasl_learn::{LearnConfig, Run};
use toy::{Labels, Logistic, World};

#[test]
fn the_best_round_and_of_equal_ones_the_last() {
    let world = World::new(40);
    let config = LearnConfig {
        initial: 4,
        per_round: 4,
        sequence: "al:2".parse().expect("a sequence"),
        ..LearnConfig::default()
    };
    let folder = tempfile::tempdir().expect("a folder");
    let mut run = Run::create(folder.path(), config, world.ids(), Vec::new()).expect("a run");
    run.advance(&mut Logistic::new(&world), &mut Labels::default(), &mut ()).expect("an outcome");
    let mut state = run.state().clone();
    let mut best = |scores: [f64; 3]| {
        assert_eq!(state.history.len(), scores.len());
        for (record, score) in state.history.iter_mut().zip(scores) {
            record.score.value = score;
        }
        state.best().map(|best| best.round)
    };
    assert_eq!(best([0.1, 0.3, 0.2]), Some(1));
    // Without validation all are 0.
    assert_eq!(best([0.0, 0.0, 0.0]), Some(2));
}
