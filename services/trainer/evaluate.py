"""Stage `evaluate`: loss and accuracy of a model on the validation split of every corpus."""

from __future__ import annotations

from shared.lm.load import load_model
from shared.lm.validation import evaluate_corpora, validation_contexts
from shared.stages.stage import Leave, Stage, StageError
from shared.stages.trainer import EvaluateParameters


def run(stage: Stage) -> None:
    """Results: corpora, a list of {loss, accuracy, tokens} in input order, and parameters.

    Loss is the mean cross-entropy in nats of tokens 1.. of each block given those before them;
    `tokens` counts these predictions.
    """
    parameters = EvaluateParameters.model_validate(stage.parameters)
    corpora = []
    for number, tokens in enumerate(stage.group("tokens")):
        try:
            corpora.append(validation_contexts(tokens.path, parameters.max_tokens))
        except ValueError as error:
            raise StageError(f"corpus {number} of the evaluation cannot be used: {error}") from None
    model = load_model(stage.input("model").path)
    total = sum(corpus.size for corpus in corpora)
    done = 0

    def on_tokens(count: int) -> None:
        nonlocal done
        done += count
        stage.progress(done, total, "tokens")
        if stage.stopping:
            raise Leave

    evaluations = evaluate_corpora(model, corpora, on_tokens)
    stage.results["corpora"] = [
        {"loss": result.loss, "accuracy": result.accuracy, "tokens": result.tokens}
        for result in evaluations
    ]
    stage.results["parameters"] = sum(weight.numel() for weight in model.parameters())
