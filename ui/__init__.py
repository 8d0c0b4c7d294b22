"""What all pages share: the shell around them, the runtime behind them, their charts and their cards."""
