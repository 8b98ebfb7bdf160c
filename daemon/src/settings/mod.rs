//! Settings of a process: a TOML file, then the environment, then flags.
//!
//! A component declares each setting once, with [`settings!`](crate::settings!): its key, its type,
//! its default and its documentation. The other names follow from the key, so that they cannot
//! drift: `amqp.channels` is `channels` in the section `[amqp]` of the file, `VMCTL_AMQP_CHANNELS`
//! in the environment and `--amqp-channels` on the command line.
//!
//! A secret has no flag. It is given by the environment or the file, or it is read from a file that
//! `VMCTL_…_FILE`, the key `…_file` or the flag `--…-file` names; giving both in the same place is
//! an error. An empty environment variable counts as absent.

mod error;
mod load;
mod print;
mod value;

pub use error::SettingsError;
pub(crate) use load::flag;
pub use load::{Source, Values};
pub use print::effective;
pub use value::{Form, Listen, Parsed, SecretUrl, Value};

/// One declared setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The key in the file, with its section: `amqp.url`.
    pub key: &'static str,
    /// What it means; the first line is the help of its flag.
    pub doc: &'static str,
    /// What it is when nobody sets it.
    pub default: Option<&'static str>,
    /// How it is written in the file.
    pub form: Form,
    /// Whether it may be absent without a default.
    pub optional: bool,
    /// Whether it is a secret.
    pub secret: bool,
    /// Says why a text is not a value of the setting.
    pub check: fn(&str) -> Result<(), String>,
    /// What may be shown of a value, `None` for nothing.
    pub shown: fn(&str) -> Option<String>,
}

impl Setting {
    /// Declares a setting of type `T`.
    pub fn of<T: Value>(
        key: &'static str,
        default: Option<&'static str>,
        doc: &'static str,
    ) -> Self {
        Self {
            key,
            doc: doc.trim(),
            default,
            form: T::FORM,
            optional: T::absent().is_some(),
            secret: T::SECRET,
            check: |text| T::parse(text).map(drop),
            shown: T::shown,
        }
    }

    /// The environment variable.
    pub fn env(&self) -> String {
        format!("VMCTL_{}", self.key.replace('.', "_").to_uppercase())
    }

    /// The environment variable that names a file with the secret.
    pub fn env_file(&self) -> String {
        format!("{}_FILE", self.env())
    }

    /// The key of the file that names a file with the secret.
    pub fn key_file(&self) -> String {
        format!("{}_file", self.key)
    }

    /// The flag, without its dashes. A secret's flag names a file.
    pub fn flag(&self) -> String {
        let name = self.key.replace(['.', '_'], "-");
        if self.secret {
            format!("{name}-file")
        } else {
            name
        }
    }

    /// The first line of the documentation.
    pub fn brief(&self) -> &'static str {
        self.doc.lines().next().unwrap_or_default().trim()
    }
}

/// A group of settings that one component owns.
pub trait Section: Sized {
    /// Adds the settings of the section.
    fn declare(into: &mut Vec<Setting>);

    /// Reads the section from what was loaded.
    fn read(values: &Values) -> Result<Self, SettingsError>;
}

/// Every setting of a section, in the order of declaration.
pub fn declared<S: Section>() -> Vec<Setting> {
    let mut all = Vec::new();
    S::declare(&mut all);
    all
}

/// Declares a struct of settings.
///
/// Each line is documented, and reads `"key" = "default" => field: Type`; without a default the
/// setting is required, unless its type is an `Option` or a `Vec`. A line `..section: Type` includes
/// another struct of settings; such lines come last.
///
/// ```
/// use std::time::Duration;
///
/// vmctl_daemon::settings! {
///     /// What a baker needs to know.
///     pub struct Settings {
///         /// Time in the oven
///         "oven.duration" = "35m" => duration: Duration,
///         /// Name on the bread
///         "label" => label: Option<String>,
///     }
/// }
/// ```
#[macro_export]
macro_rules! settings {
    (
        $(#[$about:meta])*
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $key:literal $(= $default:literal)? => $field:ident: $type:ty,
            )*
            $( .. $section:ident: $section_type:ty, )*
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone)]
        $vis struct $name {
            $(
                $(#[doc = $doc])+
                pub $field: $type,
            )*
            $(
                #[doc = concat!("Included settings: ", stringify!($section))]
                pub $section: $section_type,
            )*
        }

        impl $crate::settings::Section for $name {
            fn declare(into: &mut ::std::vec::Vec<$crate::settings::Setting>) {
                $(
                    into.push($crate::settings::Setting::of::<$type>(
                        $key,
                        $crate::settings!(@default $($default)?),
                        concat!($($doc, "\n"),+),
                    ));
                )*
                $( <$section_type as $crate::settings::Section>::declare(into); )*
            }

            fn read(
                values: &$crate::settings::Values,
            ) -> ::std::result::Result<Self, $crate::settings::SettingsError> {
                ::std::result::Result::Ok(Self {
                    $( $field: values.get($key)?, )*
                    $( $section: $crate::settings::Section::read(values)?, )*
                })
            }
        }
    };
    (@default) => { ::std::option::Option::None };
    (@default $default:literal) => { ::std::option::Option::Some($default) };
}
