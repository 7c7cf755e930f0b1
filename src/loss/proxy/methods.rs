//! The methods that all proxy losses have alike.

/// How a loss is made. The configuration has `validate`, `rows` and `assemble`.
macro_rules! making {
    ($config:ident, $loss:ident) => {
        impl $config {
            /// Makes the loss, with proxies drawn by the initializer at their first use.
            ///
            /// # Panics
            ///
            /// With the message of [`try_init`](Self::try_init).
            pub fn init(&self, device: &Device) -> $loss {
                self.try_init(device)
                    .unwrap_or_else(|error| panic!("{error}"))
            }

            /// Makes the loss, with proxies drawn by the initializer at their first use.
            ///
            /// # Errors
            ///
            /// [`SettingError`](crate::SettingError) for a setting outside its range.
            /// [`ClassWeightsError`](crate::ClassWeightsError) for class weights that are not one per class,
            /// finite and not negative.
            pub fn try_init(&self, device: &Device) -> Result<$loss, ProxyError> {
                self.validate()?;
                self.assemble(start::drawn_proxies(
                    [self.rows(), self.feature_dim],
                    self.initializer.clone(),
                    self.precision,
                    device,
                )?)
            }

            /// Makes the loss around the given proxies, on their device: one row per class, and where a
            /// class has several, those of a class follow each other. Reads one number per row back from
            /// the device.
            ///
            /// # Errors
            ///
            /// As [`try_init`](Self::try_init), and [`CentersError`](crate::CentersError) for proxies of
            /// another shape or with a value that is not finite.
            pub fn init_with_centers(&self, centers: Tensor<2>) -> Result<$loss, ProxyError> {
                self.validate()?;
                let shape = [self.rows(), self.feature_dim];
                self.assemble(start::given_proxies(centers, shape, self.precision)?)
            }
        }
    };
}

/// How a loss is called and what it tells. The loss has `proxies`, and `total`: the value of a batch, with
/// proxies that receive gradients if they may train.
macro_rules! calling {
    ($loss:ident, $config:ident) => {
        impl $loss {
            /// The loss of a batch.
            ///
            /// # Shapes
            ///
            /// - features: `[batch_size, feature_dim]`
            /// - labels: `[batch_size]`, in `0..num_classes` or the ignored label
            /// - output: `[1]`
            ///
            /// # Panics
            ///
            /// With the message of [`try_forward`](Self::try_forward).
            pub fn forward(&self, features: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
                self.try_forward((features, labels))
                    .unwrap_or_else(|error| panic!("{error}"))
            }

            /// [`forward`](Self::forward) with errors as values, also for a batch with sample weights.
            ///
            /// # Errors
            ///
            /// [`BatchError`](crate::BatchError) for shapes or devices that do not fit. Under
            /// [`Checking::Strict`](crate::Checking::Strict) also for a label outside `0..num_classes`, a
            /// feature, weight or proxy that is not finite, a negative weight, and a loss or a gradient of
            /// the features that would not be finite.
            pub fn try_forward(&self, batch: impl Into<Batch>) -> Result<Tensor<1>, ProxyError> {
                self.total(batch.into(), true)
            }

            /// The loss of a batch; the proxies receive no gradient.
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
            pub fn evaluate(&self, features: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
                self.try_evaluate((features, labels))
                    .unwrap_or_else(|error| panic!("{error}"))
            }

            /// [`evaluate`](Self::evaluate) with errors as values, also for a batch with sample weights.
            ///
            /// # Errors
            ///
            /// As [`try_forward`](Self::try_forward).
            pub fn try_evaluate(&self, batch: impl Into<Batch>) -> Result<Tensor<1>, ProxyError> {
                self.total(batch.into(), false)
            }

            /// The counts of what [`Checking::Deferred`](crate::Checking::Deferred) has left out on this
            /// loss and all its clones since the last call, which starts counting anew. Reads from the
            /// devices that have counted.
            ///
            /// # Errors
            ///
            /// [`BatchError::Read`](crate::BatchError::Read) if a device does not return its counts.
            pub fn take_left_out(&self) -> Result<LeftOut, ProxyError> {
                Ok(self.left_out.take()?)
            }

            /// The proxies as they are now, one row each: a constant on the plain device.
            pub fn centers(&self) -> Tensor<2> {
                self.centers.constant()
            }

            /// The number of classes.
            pub fn num_classes(&self) -> usize {
                self.config.num_classes
            }

            /// The width of features and proxies.
            pub fn feature_dim(&self) -> usize {
                self.config.feature_dim
            }

            /// The configuration that the loss was made with.
            pub fn config(&self) -> &$config {
                &self.config
            }

            /// The parameter group of the proxies, for an optimizer and a rate of their own. `path` is where
            /// the loss is in the model, such as `"proxies"`, or `""` if it is the model.
            ///
            /// The group matches by path: parameter ids change when a checkpoint is loaded.
            pub fn centers_group(path: &str) -> ParamGroup {
                let path = match path {
                    "" => String::from("centers"),
                    path => alloc::format!("{path}.centers"),
                };
                ParamGroup::from_path(path)
            }

            fn proxies(&self) -> Proxies<'_> {
                Proxies {
                    centers: &self.centers,
                    rules: BatchRules {
                        num_classes: self.config.num_classes,
                        feature_dim: self.config.feature_dim,
                        ignore_label: self.config.ignore_label,
                        checking: self.config.checking,
                    },
                    left_out: &self.left_out,
                }
            }
        }
    };
}

/// How a loss that is a sum over the samples is called. The loss has `measure`, with a reduction or none.
macro_rules! calling_per_sample {
    ($loss:ident) => {
        impl $loss {
            /// The losses `w_i l_i` of the samples, not reduced.
            ///
            /// # Shapes
            ///
            /// - features: `[batch_size, feature_dim]`
            /// - labels: `[batch_size]`
            /// - output: `[batch_size]`
            ///
            /// # Panics
            ///
            /// With the message of [`try_forward_no_reduction`](Self::try_forward_no_reduction).
            pub fn forward_no_reduction(
                &self,
                features: Tensor<2>,
                labels: Tensor<1, Int>,
            ) -> Tensor<1> {
                self.try_forward_no_reduction((features, labels))
                    .unwrap_or_else(|error| panic!("{error}"))
            }

            /// [`forward_no_reduction`](Self::forward_no_reduction) with errors as values, also for a batch
            /// with sample weights.
            ///
            /// # Errors
            ///
            /// As [`try_forward`](Self::try_forward).
            pub fn try_forward_no_reduction(
                &self,
                batch: impl Into<Batch>,
            ) -> Result<Tensor<1>, ProxyError> {
                self.measure(batch.into(), None, true)
            }

            fn total(&self, batch: Batch, may_train: bool) -> Result<Tensor<1>, ProxyError> {
                self.measure(batch, Some(&self.config.reduction), may_train)
            }
        }
    };
}

pub(super) use {calling, calling_per_sample, making};
