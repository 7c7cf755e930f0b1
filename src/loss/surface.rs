//! The parts that all losses have alike: common settings, construction, calls and accessors.
//!
//! A loss is one file with its own settings, its fields and its formula. It implements
//! [`LossConfig`](super::common::LossConfig) and [`Loss`](super::common::Loss), and the macros here write the rest.

/// Declares the configuration of a loss: its own settings and those that all losses have. `per sample` adds the
/// settings of a loss that is a sum over samples.
macro_rules! loss_config {
    (
        $(#[$docs:meta])*
        pub struct $Config:ident per sample { initializer: $initializer:tt, $($own:tt)* }
    ) => {
        crate::loss::surface::loss_config! {
            @declare
            $(#[$docs])*
            pub struct $Config {
                initializer: $initializer,
                $($own)*
                /// The balance of the classes of a batch. Default: [`ClassBalance::None`](crate::ClassBalance::None).
                #[config(default = "crate::ClassBalance::None")]
                pub class_balance: crate::ClassBalance,
                /// The reduction of the losses of the samples to one value. Default: `Reduction::Mean`.
                #[config(default = "burn::nn::loss::Reduction::Mean")]
                pub reduction: burn::nn::loss::Reduction,
                /// One factor per class for the losses of its samples: 0, or in `1e-15..=1e15`. It enters the
                /// weighted mean as well, and leaves a direct update of the centers alone. Default: none.
                pub class_weights: Option<Vec<f64>>,
            }
        }

        impl $Config {
            /// The class weights on the device of the centers.
            fn class_weights(
                &self,
                centers: &crate::centers::Centers,
            ) -> Option<burn::tensor::Tensor<1>> {
                let weights = self.class_weights.as_deref();
                crate::batch::class_weights(weights, centers.device(), centers.dtype().into())
            }

            fn weighing<'a>(
                &'a self,
                lambda: f64,
                class_weights: Option<&'a burn::tensor::Tensor<1>>,
                call: crate::loss::common::Call,
            ) -> crate::batch::Weighing<'a> {
                crate::batch::Weighing {
                    lambda,
                    reduction: call.is_reduced.then_some(&self.reduction),
                    class_balance: self.class_balance,
                    class_weights,
                }
            }

            /// The same settings for more classes, which have weight 1.
            fn with_more_class_weights(mut self) -> Self {
                if let Some(weights) = &mut self.class_weights {
                    weights.resize(self.num_classes, 1.0);
                }
                self
            }

            fn refuse_class_weights(&self) -> Result<(), crate::LossError> {
                crate::batch::check_class_weights(self.class_weights.as_deref(), self.num_classes)
            }
        }
    };
    (
        $(#[$docs:meta])*
        pub struct $Config:ident per batch { initializer: $initializer:tt, $($own:tt)* }
    ) => {
        crate::loss::surface::loss_config! {
            @declare
            $(#[$docs])*
            pub struct $Config { initializer: $initializer, $($own)* }
        }

        impl $Config {
            fn with_more_class_weights(self) -> Self {
                self
            }

            fn refuse_class_weights(&self) -> Result<(), crate::LossError> {
                Ok(())
            }
        }
    };
    (
        @declare
        $(#[$docs:meta])*
        pub struct $Config:ident { initializer: $initializer:tt, $($own:tt)* }
    ) => {
        $(#[$docs])*
        #[derive(burn::config::Config, Debug)]
        pub struct $Config {
            /// The number of classes: labels are `0..num_classes`.
            pub num_classes: usize,
            /// The width of the features and of the centers.
            pub feature_dim: usize,
            $($own)*
            /// The label of samples that take no part. It may lie outside `0..num_classes`. Default: none.
            pub ignore_label: Option<i64>,
            /// The distribution that the centers are drawn from. Default: see the type.
            #[config(default = $initializer)]
            pub initializer: burn::nn::Initializer,
            /// The data type of the centers. Default: [`CenterDType::F32`](crate::CenterDType::F32).
            #[config(default = "crate::CenterDType::F32")]
            pub dtype: crate::CenterDType,
            /// The time when bad samples are reported. Default: [`Checking::Strict`](crate::Checking::Strict).
            #[config(default = "crate::Checking::Strict")]
            pub checking: crate::Checking,
        }
    };
}

/// The items of [`LossConfig`] that every configuration has alike.
macro_rules! common_settings {
    () => {
        fn common(&self) -> crate::loss::common::CommonSettings {
            crate::loss::common::CommonSettings {
                num_classes: self.num_classes,
                feature_dim: self.feature_dim,
                ignore_label: self.ignore_label,
                dtype: self.dtype,
            }
        }

        fn check_class_weights(&self) -> Result<(), crate::LossError> {
            self.refuse_class_weights()
        }
    };
}

/// The item of [`LossConfig`] that makes a loss of centers, class weights, configuration and counter.
macro_rules! assemble {
    ($Loss:ident) => {
        fn assemble(&self, centers: crate::centers::Centers) -> $Loss {
            $Loss {
                class_weights: self.class_weights(&centers),
                centers,
                config: std::sync::Arc::new(self.clone()),
                skipped: crate::batch::SkippedCounter::default(),
            }
        }
    };
}

/// The item of [`Loss`] for a loss of which only the class weights follow the centers.
macro_rules! with_centers {
    ($Config:ident) => {
        fn with_centers(
            self,
            centers: crate::centers::Centers,
            config: Option<std::sync::Arc<$Config>>,
        ) -> Self {
            let config = config.unwrap_or_else(|| self.config.clone());
            Self {
                class_weights: config.class_weights(&centers),
                centers,
                config,
                ..self
            }
        }
    };
}

/// Writes the methods that all losses have. `per sample` adds those of a loss that is a sum over samples.
macro_rules! loss_methods {
    ($Loss:ident, $Config:ident per sample) => {
        crate::loss::surface::loss_methods!($Loss, $Config per batch);

        impl $Loss {
            /// The weighed losses of the samples, not reduced. It trains as [`forward`](Self::forward) does.
            ///
            /// # Shapes
            ///
            /// - features: `[batch_size, feature_dim]`
            /// - labels: `[batch_size]`
            /// - output: `[batch_size]`
            ///
            /// # Panics
            ///
            /// With the message of [`try_forward_no_reduction`](Self::try_forward_no_reduction). The loss is
            /// unchanged then.
            pub fn forward_no_reduction(
                &self,
                features: burn::tensor::Tensor<2>,
                labels: burn::tensor::Tensor<1, burn::tensor::Int>,
            ) -> burn::tensor::Tensor<1> {
                self.try_forward_no_reduction((features, labels))
                    .unwrap_or_else(|error| panic!("{error}"))
            }

            /// [`forward_no_reduction`](Self::forward_no_reduction) with errors as values, also for sample
            /// weights.
            ///
            /// # Errors
            ///
            /// As [`try_forward`](Self::try_forward).
            pub fn try_forward_no_reduction(
                &self,
                batch: impl Into<crate::LabelledBatch>,
            ) -> Result<burn::tensor::Tensor<1>, crate::LossError> {
                use crate::loss::common::{Call, Loss};
                self.value(batch.into(), Call::NO_REDUCTION)
            }
        }
    };
    ($Loss:ident, $Config:ident per batch) => {
        impl $Config {
            /// Makes the loss. Its centers are drawn at their first use.
            ///
            /// # Panics
            ///
            /// With the message of [`try_init`](Self::try_init).
            pub fn init(&self, device: &burn::tensor::Device) -> $Loss {
                self.try_init(device)
                    .unwrap_or_else(|error| panic!("{error}"))
            }

            /// [`init`](Self::init) with errors as values.
            ///
            /// # Errors
            ///
            /// [`LossError::Setting`](crate::LossError::Setting) for a setting outside its range,
            /// [`LossError::ClassCount`](crate::LossError::ClassCount) and
            /// [`LossError::ClassValue`](crate::LossError::ClassValue) for values of the classes, and
            /// [`LossError::DType`](crate::LossError::DType) for a device without the functions in `f64`.
            pub fn try_init(
                &self,
                device: &burn::tensor::Device,
            ) -> Result<$Loss, crate::LossError> {
                use crate::loss::common::LossConfig;
                self.check(device)?;
                Ok(self.assemble(self.start(self.initializer.clone(), device)))
            }

            /// Makes the loss around centers on their device. Reads one number per center back from it.
            ///
            /// `centers` is `[num_classes, feature_dim]`. Sub-centers follow one another:
            /// `[num_classes * sub_centers, feature_dim]`.
            ///
            /// # Errors
            ///
            /// As [`try_init`](Self::try_init), and
            /// [`LossError::CentersShape`](crate::LossError::CentersShape) or
            /// [`LossError::Center`](crate::LossError::Center) for centers of another shape, or with a value that
            /// is not finite.
            pub fn init_with_centers(
                &self,
                centers: burn::tensor::Tensor<2>,
            ) -> Result<$Loss, crate::LossError> {
                use crate::loss::common::LossConfig;
                self.check(&centers.device())?;
                Ok(self.assemble(self.given(centers, self.shape())?))
            }
        }

        impl $Loss {
            /// The loss of a batch. See [the type](Self) for what a call changes in training.
            ///
            /// Reads from the device under [`Checking::Strict`](crate::Checking::Strict) only.
            ///
            /// # Shapes
            ///
            /// - features: `[batch_size, feature_dim]`
            /// - labels: `[batch_size]`
            /// - output: `[1]`
            ///
            /// # Panics
            ///
            /// With the message of [`try_forward`](Self::try_forward). The loss is unchanged then.
            pub fn forward(
                &self,
                features: burn::tensor::Tensor<2>,
                labels: burn::tensor::Tensor<1, burn::tensor::Int>,
            ) -> burn::tensor::Tensor<1> {
                self.try_forward((features, labels))
                    .unwrap_or_else(|error| panic!("{error}"))
            }

            /// [`forward`](Self::forward) with errors as values, also for sample weights.
            ///
            /// # Errors
            ///
            /// [`LossError`](crate::LossError) for a batch without samples, or whose shapes or devices do not
            /// fit. Under [`Checking::Strict`](crate::Checking::Strict) also for a label, feature or weight
            /// outside its range, for a center, loss or step that is not finite, and if the device returns no
            /// values. The loss is unchanged then.
            pub fn try_forward(
                &self,
                batch: impl Into<crate::LabelledBatch>,
            ) -> Result<burn::tensor::Tensor<1>, crate::LossError> {
                use crate::loss::common::{Call, Loss};
                self.value(batch.into(), Call::FORWARD)
            }

            /// The loss of a batch, without training: nothing moves, and the centers get no gradients.
            ///
            /// # Shapes
            ///
            /// - features: `[batch_size, feature_dim]`
            /// - labels: `[batch_size]`
            /// - output: `[1]`
            ///
            /// # Panics
            ///
            /// With the message of [`try_evaluate`](Self::try_evaluate).
            pub fn evaluate(
                &self,
                features: burn::tensor::Tensor<2>,
                labels: burn::tensor::Tensor<1, burn::tensor::Int>,
            ) -> burn::tensor::Tensor<1> {
                self.try_evaluate((features, labels))
                    .unwrap_or_else(|error| panic!("{error}"))
            }

            /// [`evaluate`](Self::evaluate) with errors as values, also for sample weights.
            ///
            /// # Errors
            ///
            /// As [`try_forward`](Self::try_forward).
            pub fn try_evaluate(
                &self,
                batch: impl Into<crate::LabelledBatch>,
            ) -> Result<burn::tensor::Tensor<1>, crate::LossError> {
                use crate::loss::common::{Call, Loss};
                self.value(batch.into(), Call::EVALUATE)
            }

            /// The counts of samples that [`Checking::Deferred`](crate::Checking::Deferred) has skipped on this
            /// loss and all its clones since the last call. Reads from the devices that have counted.
            ///
            /// # Errors
            ///
            /// [`LossError::Read`](crate::LossError::Read) if a device does not return its counts. They are kept
            /// then.
            pub fn take_skipped(&self) -> Result<crate::SkippedSamples, crate::LossError> {
                self.skipped.take()
            }

            /// The centers as they are now: a constant without autodiff, which later updates leave alone.
            ///
            /// The shape is `[num_classes, feature_dim]`, or `[num_classes * sub_centers, feature_dim]`.
            ///
            /// # Panics
            ///
            /// If the backend failed in the middle of an earlier update.
            pub fn centers(&self) -> burn::tensor::Tensor<2> {
                self.centers.constant()
            }

            /// The number of classes.
            pub fn num_classes(&self) -> usize {
                self.config.num_classes
            }

            /// The width of features and centers.
            pub fn feature_dim(&self) -> usize {
                self.config.feature_dim
            }

            /// The configuration that the loss was made with.
            pub fn config(&self) -> &$Config {
                &self.config
            }

            /// The parameter group of the centers, for an optimizer and a rate of their own.
            ///
            /// `path` is the place of the loss in the model, such as `"center_loss"`, or `""` if the loss is the
            /// model. The group matches by path, since parameter ids change when a checkpoint is loaded.
            pub fn centers_param_group(path: &str) -> burn::module::ParamGroup {
                let path = match path {
                    "" => String::from("centers"),
                    path => format!("{path}.centers"),
                };
                burn::module::ParamGroup::from_path(path)
            }

            /// The same loss with its centers at the class means of the batches. A class without samples keeps
            /// its center.
            ///
            /// Losses of angles take the means of unit features. Every sample counts the same. Rates and
            /// schedules go on, and frozen centers stay frozen. Pending updates are dropped.
            ///
            /// # Shapes
            ///
            /// - features of each batch: `[batch_size, feature_dim]`
            /// - labels of each batch: `[batch_size]`
            ///
            /// # Errors
            ///
            /// Those of [`try_forward`](Self::try_forward) under strict checking, and
            /// [`LossError::Setting`](crate::LossError::Setting) for more than one center per class.
            pub fn init_from_data(
                &self,
                batches: impl IntoIterator<
                    Item = (
                        burn::tensor::Tensor<2>,
                        burn::tensor::Tensor<1, burn::tensor::Int>,
                    ),
                >,
            ) -> Result<Self, crate::LossError> {
                use crate::loss::class_means::class_means;
                use crate::loss::common::Loss;
                self.centers.check_present()?;
                let means = class_means(&*self.config, &self.centers, batches)?;
                let centers = self.centers.clone().with_values(means);
                Ok(self.clone().with_centers(centers, None))
            }

            /// The same loss with more classes. The given centers follow the present ones.
            ///
            /// `centers` is `[new_classes, feature_dim]`, or `[new_classes * sub_centers, feature_dim]`. New
            /// classes have class weight 1. Rates, schedules, counts and pending updates stay, and frozen centers
            /// stay frozen.
            ///
            /// # Errors
            ///
            /// Those of `init_with_centers`.
            pub fn extend_classes(
                &self,
                centers: burn::tensor::Tensor<2>,
            ) -> Result<Self, crate::LossError> {
                use crate::loss::common::{Loss, LossConfig, check_added};
                self.centers.check_present()?;
                let new_classes = check_added(&*self.config, &centers)?;
                let mut config = (*self.config).clone();
                let shape = [new_classes * config.sub_centers(), config.feature_dim];
                let added = config.given(centers, shape)?.constant();
                config.num_classes += new_classes;
                let config = config.with_more_class_weights().extended();
                config.check(self.centers.device())?;
                let centers = self.centers.clone().extended(added);
                Ok(self
                    .clone()
                    .with_centers(centers, Some(std::sync::Arc::new(config))))
            }

            /// The mean distance of a batch to its centers, the smallest distance between centers of two
            /// classes, and their ratio. Moves nothing, and reads from the device.
            ///
            /// Losses of angles measure the distance between directions. It compares every center with every
            /// other, `O(num_classes^2 * feature_dim)`: for logging once in a while.
            ///
            /// # Shapes
            ///
            /// - features: `[batch_size, feature_dim]`
            /// - labels: `[batch_size]`; ignored labels do not count
            ///
            /// # Errors
            ///
            /// Those of [`try_forward`](Self::try_forward) under strict checking, and
            /// [`LossError::Center`](crate::LossError::Center) if a center is not finite.
            pub fn statistics(
                &self,
                features: burn::tensor::Tensor<2>,
                labels: burn::tensor::Tensor<1, burn::tensor::Int>,
            ) -> Result<crate::CenterStatistics, crate::LossError> {
                self.centers.check_present()?;
                crate::loss::statistics::statistics(&*self.config, &self.centers, features, labels)
            }

            /// A classifier of the centers as they are now. Losses of angles classify by direction, and a class
            /// of several centers by its closest one. Reads the centers back from the device once.
            ///
            /// # Errors
            ///
            /// [`KnnError`](crate::KnnError) if a center is not finite, or the device does not return them.
            ///
            /// # Panics
            ///
            /// As [`centers`](Self::centers).
            pub fn nearest_center(&self) -> Result<crate::NearestCenter, crate::KnnError> {
                use crate::CenterDistance;
                use crate::loss::common::LossConfig;
                match self.config.distance() {
                    CenterDistance::Euclidean => crate::NearestCenter::from_sub_centers(
                        self.centers(),
                        self.config.sub_centers(),
                    ),
                    CenterDistance::Cosine => crate::NearestCenter::from_sub_directions(
                        self.centers(),
                        self.config.sub_centers(),
                    ),
                }
            }
        }
    };
}

pub(crate) use {assemble, common_settings, loss_config, loss_methods, with_centers};
