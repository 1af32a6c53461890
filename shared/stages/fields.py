"""Parameters that several stage kinds have, each with its description."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

Hook = Literal["mlp_post", "mlp_out", "attn_out", "resid_pre", "resid_post"]
HookPoint = Annotated[Hook, Field(description="Hook point whose activations are read.")]
Layer = Annotated[int, Field(description="Layer of the hook point, counted from 0.")]
Context = Annotated[int, Field(description="Tokens of a context that the model reads.")]
HeldOutTokens = Annotated[int, Field(description="Number of held-out tokens that are read.")]
MaxTokens = Annotated[
    int | None, Field(description="At most so many held-out tokens of each corpus; None: all.")
]
Threshold = Annotated[float, Field(description="Correlation r from which two features match.")]
MinFirings = Annotated[
    int, Field(description="Firings from which a feature counts as live; below it is rare.")
]

# Of the training of dictionaries.
TrainingTokens = Annotated[
    int, Field(description="Training tokens: the activation vectors that are read.")
]
TrainingSeed = Annotated[
    int, Field(description="Seed of the starting weights and of the order of the data.")
]
Batch = Annotated[int, Field(description="Contexts of a step.")]
Expansion = Annotated[
    float | None, Field(description="Features per unit of width; None: see features.")
]
Features = Annotated[int | None, Field(description="Number of features; None: see expansion.")]
AuxCoefficient = Annotated[
    float, Field(description="Weight of the auxiliary loss on dead features (variants with k).")
]
LearningRate = Annotated[float, Field(description="Highest learning rate of Adam.")]
WarmupSteps = Annotated[int, Field(description="Steps over which the learning rate rises from 0.")]
Decay = Annotated[
    float,
    Field(description="Share of the steps, at the end, over which the learning rate falls to 0."),
]
Betas = Annotated[tuple[float, float], Field(description="Betas of Adam.")]
DeadAfter = Annotated[int, Field(description="Silent steps after which a feature counts as dead.")]
