//! The data: four IDX files, checked, and split into training, validation and test samples.

mod classes;
mod files;
mod samples;
mod source;

use anyhow::{Context, Result, ensure};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::recipe::Recipe;
pub use classes::Classes;
use files::{Files, TEST, TRAIN};
pub use samples::{Samples, Shifts};
pub use source::{BUNDLED, Source};

/// The samples of a run.
pub struct Dataset {
    pub train: Samples,
    pub validation: Samples,
    pub test: Samples,
    /// Test samples of the classes that are left out, which are in none of the other sets.
    pub unknown: Samples,
    pub classes: Classes,
}

impl Dataset {
    /// Reads the four files of `source`.
    ///
    /// The classes are the labels of the training file but those of `--unknown-classes`. Which samples are in which set depends on the files and the sizes alone,
    /// so that runs of different seeds are measured on the same samples.
    pub fn load(source: &Source, recipe: &Recipe) -> Result<Self> {
        let files = Files::find(source, &[TRAIN, TEST]).context("--data-dir")?;
        let read = |set| Samples::read(&files, set, recipe.shrink).context("--data-dir");
        let (train, test) = (read(TRAIN)?, read(TEST)?);
        ensure_size(test.image_size(), train.image_size()).context("--data-dir: test files")?;
        let all = Classes::of(&train.labels, files.mapping().as_deref())?;
        ensure!(
            all.len() > 1,
            "--data-dir: all labels are {all}, but a network needs at least two classes"
        );
        let classes = all.without(&recipe.unknown_classes)?;
        let [train, _] = train.parted(&all, &classes)?;
        let [test, unknown] = test.parted(&all, &classes)?;
        ensure!(
            train.len() > 1,
            "{} training samples of the classes {classes}: at least two are needed, one for validation",
            train.len()
        );
        ensure!(test.len() > 0, "no test samples of the classes {classes}");
        ensure!(
            recipe.unknown_classes.is_empty() || unknown.len() > 0,
            "--unknown-classes: there are no test samples of {:?}",
            recipe.unknown_classes
        );

        let test_len = recipe.test_size.unwrap_or(usize::MAX);
        let validation_len = recipe.validation_size.min(train.len() / 2);
        let rest = Vec::from_iter(validation_len..train.len());
        let train_len = recipe.train_size.unwrap_or(rest.len()).min(rest.len());
        Ok(Self {
            validation: train.first(validation_len),
            train: train.subset(&rest[..train_len]),
            test: test.first(test_len),
            unknown: unknown.first(test_len),
            classes,
        })
    }
}

/// The test samples of `source`, whose classes are all unknown to a run with `recipe` and images of `image_size`.
pub fn unknown_samples(
    source: &Source,
    recipe: &Recipe,
    image_size: [usize; 2],
) -> Result<Samples> {
    let samples = Samples::read(&Files::find(source, &[TEST])?, TEST, recipe.shrink)?;
    ensure_size(samples.image_size(), image_size)?;
    let samples = samples.mixed((0..samples.len()).collect());
    Ok(samples.first(recipe.test_size.unwrap_or(usize::MAX)))
}

/// Refuses images that are not of the size `trained`.
pub fn ensure_size(images: [usize; 2], trained: [usize; 2]) -> Result<()> {
    let [images_of, trained_on] = [images, trained].map(|[high, wide]| format!("{high}x{wide}"));
    ensure!(
        images == trained,
        "images of {images_of}, but the run was trained on images of {trained_on}"
    );
    Ok(())
}

/// The labels of all but `known` of the classes, drawn at random.
pub fn random_unknown_classes(classes: &Classes, known: usize, seed: u64) -> Vec<u8> {
    let mut labels = Vec::from_iter(classes.labels());
    labels.shuffle(&mut StdRng::seed_from_u64(seed));
    let mut unknown = labels.split_off(known);
    unknown.sort_unstable();
    unknown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{Loss, Preset};

    #[test]
    fn the_data_that_comes_with_the_program_is_whole() {
        let source = Source {
            directory: std::path::Path::new(BUNDLED).canonicalize().unwrap(),
            split: None,
            transpose: None,
        };
        let recipe = Recipe {
            test_size: Some(100),
            ..Preset::Full.recipe(Loss::Joint)
        };
        let dataset = Dataset::load(&source, &recipe).unwrap();
        let lens = [&dataset.train, &dataset.validation, &dataset.test].map(Samples::len);
        assert_eq!(lens, [55_000, 5_000, 100]);
        assert_eq!(dataset.classes.len(), 10);
        assert_eq!(dataset.train.image_size(), [28, 28]);
    }

    #[test]
    fn every_seed_leaves_other_classes_out() {
        let classes = Classes::of(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], None).unwrap();
        let draw = |seed| random_unknown_classes(&classes, 6, seed);
        let splits: Vec<_> = (0..5).map(draw).collect();
        assert!(splits.iter().all(|split| split.len() == 4));
        assert_ne!(splits[0], splits[1]);
        assert_eq!(splits[0], draw(0));
    }
}
