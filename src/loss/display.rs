//! The display of a loss as a module: its sizes and its own settings in one line.

/// Displays a loss with the given settings after its sizes. Before each setting is the method of Burn's `Content`
/// that adds it.
macro_rules! loss_display {
    ($Loss:ident: $($add:ident $setting:ident),*) => {
        impl burn::module::ModuleDisplay for $Loss {
            fn custom_settings(&self) -> Option<burn::module::DisplaySettings> {
                burn::module::DisplaySettings::new()
                    .with_new_line_after_attribute(false)
                    .optional()
            }

            fn custom_content(
                &self,
                content: burn::module::Content,
            ) -> Option<burn::module::Content> {
                content
                    .add("num_classes", &self.num_classes())
                    .add("feature_dim", &self.feature_dim())
                    $(.$add(stringify!($setting), &self.config.$setting))*
                    .optional()
            }
        }
    };
}

pub(crate) use loss_display;
