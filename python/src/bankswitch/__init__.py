"""Client of bankswitch: one convolutional network, many input domains."""

from importlib.metadata import version

from bankswitch.banks import BankSource
from bankswitch.calls.calibration import CalibrationOptions
from bankswitch.client import AsyncClient, Client
from bankswitch.difference import LayerDifference
from bankswitch.errors import (
    BankswitchError,
    InvalidCall,
    JobFailed,
    NoAnswer,
    ServerError,
    UnexpectedAnswer,
    Unreachable,
)
from bankswitch.pictures import Images, PictureSource
from bankswitch.results import (
    Agreement,
    AnsweredBy,
    Calibration,
    ComparedBank,
    Comparison,
    Domain,
    Drift,
    DriftCandidate,
    Inference,
    Job,
    Model,
    MovedChannel,
    Picture,
    PictureDifference,
    Prediction,
    Predictions,
    Recognised,
    RecognisedRow,
    Registered,
    Sheet,
    Version,
)
from bankswitch.retries import Retries

__version__ = version("bankswitch")

__all__ = [
    "Agreement",
    "AnsweredBy",
    "AsyncClient",
    "BankSource",
    "BankswitchError",
    "Calibration",
    "CalibrationOptions",
    "Client",
    "ComparedBank",
    "Comparison",
    "Domain",
    "Drift",
    "DriftCandidate",
    "Images",
    "Inference",
    "InvalidCall",
    "Job",
    "JobFailed",
    "LayerDifference",
    "Model",
    "MovedChannel",
    "NoAnswer",
    "Picture",
    "PictureDifference",
    "PictureSource",
    "Prediction",
    "Predictions",
    "Recognised",
    "RecognisedRow",
    "Registered",
    "Retries",
    "ServerError",
    "Sheet",
    "UnexpectedAnswer",
    "Unreachable",
    "Version",
]
