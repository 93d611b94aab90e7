//! libpam, which is loaded when it is needed: where nobody logs in by PAM it
//! need not be installed.
//!
//! Source: pam(3), pam_start(3), pam_conv(3), `security/pam_appl.h` of
//! Linux-PAM.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::ptr;

use nix::libc;

/// What a service is asked.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    /// The service.
    pub service: &'a CStr,
    /// The folder of its file, if that is not the system's.
    pub folder: Option<&'a CStr>,
    /// The user.
    pub user: &'a CStr,
    /// The password of the user.
    pub password: &'a CStr,
    /// Where the user comes from.
    pub remote: &'a CStr,
}

/// Why a user may not come in.
#[derive(Debug)]
pub(crate) enum PamError {
    /// The library, or a function in it, is not there.
    Library(String),
    /// A call has failed, and this is what the library says of it.
    Call(&'static str, String),
}

impl fmt::Display for PamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library(problem) => write!(f, "PAM cannot be used: {problem}"),
            Self::Call(call, text) => write!(f, "{call}: {text}"),
        }
    }
}

/// The functions of the library.
pub(crate) struct Pam {
    start: Start,
    start_in: Option<StartIn>,
    set_item: SetItem,
    authenticate: Act,
    account: Act,
    end: Act,
    strerror: StrError,
}

impl Pam {
    /// Loads the library, which stays loaded.
    ///
    /// # Errors
    ///
    /// What is not there.
    pub(crate) fn load() -> Result<Self, PamError> {
        // SAFETY: the name ends with a zero; what the library does when it is
        // loaded is up to the system that was told to have PAM asked.
        let library = unsafe { libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW) };
        if library.is_null() {
            // SAFETY: the text, if there is one, is this thread's until the next
            // call about libraries.
            let text = unsafe { libc::dlerror() };
            return Err(PamError::Library(copied(text)));
        }
        let find = |name: &'static CStr| {
            // SAFETY: the library was loaded and the name ends with a zero.
            let found = unsafe { libc::dlsym(library, name.as_ptr()) };
            (!found.is_null()).then_some(found)
        };
        let need = |name: &'static CStr| {
            let missing = || PamError::Library(format!("no {}", name.to_string_lossy()));
            find(name).ok_or_else(missing)
        };
        // SAFETY: functions of these names have these types in every version of
        // Linux-PAM, whose library this is by its name.
        unsafe {
            use std::mem::transmute;
            Ok(Self {
                start: transmute::<*mut c_void, Start>(need(c"pam_start")?),
                start_in: find(c"pam_start_confdir")
                    .map(|found| transmute::<*mut c_void, StartIn>(found)),
                set_item: transmute::<*mut c_void, SetItem>(need(c"pam_set_item")?),
                authenticate: transmute::<*mut c_void, Act>(need(c"pam_authenticate")?),
                account: transmute::<*mut c_void, Act>(need(c"pam_acct_mgmt")?),
                end: transmute::<*mut c_void, Act>(need(c"pam_end")?),
                strerror: transmute::<*mut c_void, StrError>(need(c"pam_strerror")?),
            })
        }
    }

    /// Whether services can be in other folders than the system's.
    pub(crate) fn has_folders(&self) -> bool {
        self.start_in.is_some()
    }

    /// Asks a service; this may take for ever.
    ///
    /// # Errors
    ///
    /// Why the user may not come in.
    pub(crate) fn ask(&self, question: &Question<'_>) -> Result<(), PamError> {
        let password = question.password.to_owned();
        let talk = Conversation {
            talk: Some(answer),
            data: ptr::from_ref(&password).cast_mut().cast(),
        };
        let mut handle = ptr::null_mut();
        let (service, user) = (question.service.as_ptr(), question.user.as_ptr());
        let status = match (question.folder, self.start_in) {
            (None, _) => {
                // SAFETY: the texts end with a zero, and all of it lives until
                // the handle is ended below.
                unsafe { (self.start)(service, user, &raw const talk, &raw mut handle) }
            }
            (Some(folder), Some(start)) => {
                let folder = folder.as_ptr();
                // SAFETY: as above.
                unsafe { start(service, user, &raw const talk, folder, &raw mut handle) }
            }
            (Some(_), None) => {
                return Err(PamError::Library("no pam_start_confdir".to_owned()));
            }
        };
        if status != SUCCESS {
            return Err(self.failed("pam_start", ptr::null_mut(), status));
        }
        let remote = question.remote.as_ptr().cast();
        // SAFETY: the handle was made and is not ended, and the library copies
        // the text.
        let mut status = unsafe { (self.set_item)(handle, REMOTE_HOST, remote) };
        let mut outcome = Ok(());
        for (call, act) in [
            ("pam_authenticate", self.authenticate),
            ("pam_acct_mgmt", self.account),
        ] {
            if status == SUCCESS {
                // SAFETY: the handle was made and is not ended.
                status = unsafe { act(handle, SILENT) };
            }
            if status != SUCCESS {
                outcome = Err(self.failed(call, handle, status));
                break;
            }
        }
        // SAFETY: the handle was made, and nobody uses it after this.
        unsafe { (self.end)(handle, status) };
        outcome
    }

    fn failed(&self, call: &'static str, handle: *mut c_void, status: c_int) -> PamError {
        // SAFETY: the handle is none or one that is not ended; the text is a
        // constant of the library.
        let text = unsafe { (self.strerror)(handle, status) };
        PamError::Call(call, copied(text))
    }
}

/// Gives the password to whatever asks for a secret, and nothing to others.
extern "C" fn answer(
    count: c_int,
    messages: *mut *const Message,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int {
    let Ok(number) = usize::try_from(count) else {
        return CONVERSATION_ERROR;
    };
    if number == 0 || messages.is_null() || responses.is_null() || data.is_null() {
        return CONVERSATION_ERROR;
    }
    // SAFETY: it is the text that `ask` has put there, and that outlives the
    // handle.
    let password = unsafe { &*data.cast::<CString>() };
    // SAFETY: the library wants memory that it can free, and frees it.
    let answers = unsafe { libc::calloc(number, size_of::<Response>()) }.cast::<Response>();
    if answers.is_null() {
        return BUFFER_ERROR;
    }
    let mut status = SUCCESS;
    for at in 0..number {
        // SAFETY: in Linux-PAM this points to so many pointers to messages.
        let style = unsafe { (**messages.add(at)).style };
        match style {
            ECHO_OFF => {
                // SAFETY: so many answers were allocated, and the text ends with
                // a zero. Whoever asks overwrites and frees the copy.
                unsafe { (*answers.add(at)).text = libc::strdup(password.as_ptr()) };
            }
            ERROR_TEXT | INFORMATION => {}
            // Something that nobody here can know.
            _ => status = CONVERSATION_ERROR,
        }
    }
    if status != SUCCESS {
        for at in 0..number {
            // SAFETY: allocated above, or null.
            unsafe { libc::free((*answers.add(at)).text.cast()) };
        }
        // SAFETY: allocated above, and given to nobody.
        unsafe { libc::free(answers.cast()) };
        return status;
    }
    // SAFETY: the library has a place for it.
    unsafe { *responses = answers };
    SUCCESS
}

/// A text of a library, or nothing.
fn copied(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: it ends with a zero, and is copied before the next call.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}

impl fmt::Debug for Pam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pam(..)")
    }
}

#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct Response {
    text: *mut c_char,
    /// Unused.
    code: c_int,
}

type Talk = extern "C" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int;

#[repr(C)]
struct Conversation {
    talk: Option<Talk>,
    data: *mut c_void,
}

type Start = unsafe extern "C" fn(
    *const c_char,
    *const c_char,
    *const Conversation,
    *mut *mut c_void,
) -> c_int;
type StartIn = unsafe extern "C" fn(
    *const c_char,
    *const c_char,
    *const Conversation,
    *const c_char,
    *mut *mut c_void,
) -> c_int;
type SetItem = unsafe extern "C" fn(*mut c_void, c_int, *const c_void) -> c_int;
type Act = unsafe extern "C" fn(*mut c_void, c_int) -> c_int;
type StrError = unsafe extern "C" fn(*mut c_void, c_int) -> *const c_char;

const LIBRARY: &CStr = c"libpam.so.0";

const SUCCESS: c_int = 0;
const BUFFER_ERROR: c_int = 5;
const CONVERSATION_ERROR: c_int = 19;
const REMOTE_HOST: c_int = 4;
const SILENT: c_int = 0x8000;

const ECHO_OFF: c_int = 1;
const ERROR_TEXT: c_int = 3;
const INFORMATION: c_int = 4;
