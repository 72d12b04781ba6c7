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
    AnsweredBy,
    Calibration,
    Domain,
    Inference,
    Job,
    Model,
    Picture,
    Prediction,
    Predictions,
    Registered,
    Version,
)
from bankswitch.retries import Retries

__version__ = version("bankswitch")

__all__ = [
    "AnsweredBy",
    "AsyncClient",
    "BankSource",
    "BankswitchError",
    "Calibration",
    "CalibrationOptions",
    "Client",
    "Domain",
    "Images",
    "Inference",
    "InvalidCall",
    "Job",
    "JobFailed",
    "LayerDifference",
    "Model",
    "NoAnswer",
    "Picture",
    "PictureSource",
    "Prediction",
    "Predictions",
    "Registered",
    "Retries",
    "ServerError",
    "UnexpectedAnswer",
    "Unreachable",
    "Version",
]
